//! `select!`: parsing, and what it becomes.
//!
//! ```text
//! select! { recv(rx) -> a => A, send(tx, x) -> b => B }
//! ```
//! becomes
//! ```text
//! {
//!     let chosen = match (&rx, (&tx, x)) {                         // operands: evaluated once, in order; temporaries live until the choice is made
//!         (operand_0, operand_1) => {
//!             let operand_0 = receiver(operand_0);                 // coerced: a receiver, or what derefs to one
//!             let operand_1 = (sender(operand_1.0), operand_1.1);
//!             let mut place_0 = pin!(recv_place(operand_0));       // what peers reach while this waits
//!             let mut place_1 = pin!(send_place(operand_1.0, operand_1.1));
//!             let mut arm_0 = recv_arm(operand_0, place_0.as_mut());
//!             let mut arm_1 = send_arm(operand_1.0, place_1.as_mut());
//!             match wait([any(&mut arm_0), any(&mut arm_1)]) {
//!                 Ok(0) => Ok(First(arm_0.result())),
//!                 Ok(1) => Ok(Rest(First(arm_1.result()))),
//!                 Ok(_) => unreachable!(),
//!                 Err(cancelled) => Err(cancelled),
//!             }
//!         }
//!     };
//!     match chosen {                                               // bodies: nothing is borrowed any more
//!         Ok(First(value)) => Ok({ let a = value; A }),
//!         Ok(Rest(First(value))) => Ok({ let b = value; B }),
//!         Err(cancelled) => Err(cancelled),
//!     }
//! }
//! ```

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, Expr, Pat, Result, Token, parenthesized, token};

struct Select {
    arms: Vec<Arm>,
    default: Option<Expr>,
}

struct Arm {
    kind: Kind,
    pattern: Option<Pat>,
    body: Expr,
}

enum Kind {
    Recv { receiver: Expr },
    Send { sender: Expr, item: Expr },
    After { timeout: Expr },
    Join { task: Expr },
    Default,
}

const FORMS: &str = "an arm is `recv(receiver) -> pattern => body`, `send(sender, item) -> pattern => body`, `join(handle) => body`, `after(duration) => body` or `default => body`";

impl Parse for Select {
    fn parse(input: ParseStream<'_>) -> Result<Select> {
        let mut select = Select { arms: Vec::new(), default: None };
        // `default(duration)` counts as a default too.
        let mut defaults = false;
        while !input.is_empty() {
            if let Ok(name) = input.fork().parse::<Ident>()
                && name == "default"
                && std::mem::replace(&mut defaults, true)
            {
                return Err(Error::new(name.span(), "a select has one `default`"));
            }
            let arm: Arm = input.parse()?;
            if input.peek(Token![,]) {
                input.parse::<Token![,]>()?;
            } else if !input.is_empty() && !ends_by_itself(&arm.body) {
                return Err(input.error("expected `,` after the arm's body"));
            }
            match arm.kind {
                Kind::Default => select.default = Some(arm.body),
                _ => select.arms.push(arm),
            }
        }
        Ok(select)
    }
}

impl Parse for Arm {
    fn parse(input: ParseStream<'_>) -> Result<Arm> {
        let name: Ident = input.parse().map_err(|error| Error::new(error.span(), FORMS))?;
        let kind = match name.to_string().as_str() {
            "recv" => {
                let [receiver] = operands(input)?;
                Kind::Recv { receiver }
            }
            "send" => {
                let [sender, item] = operands(input)?;
                Kind::Send { sender, item }
            }
            "after" => {
                let [timeout] = operands(input)?;
                Kind::After { timeout }
            }
            "join" => {
                let [task] = operands(input)?;
                Kind::Join { task }
            }
            "default" => {
                if input.peek(token::Paren) {
                    let inside;
                    parenthesized!(inside in input);
                    if !inside.is_empty() {
                        let timeout = inside.parse()?;
                        inside.parse::<Option<Token![,]>>()?;
                        if !inside.is_empty() {
                            return Err(inside.error("expected one duration"));
                        }
                        return Ok(Arm { kind: Kind::After { timeout }, pattern: None, body: body(input)? });
                    }
                }
                if input.peek(Token![->]) {
                    return Err(input.error("`default` has no value to bind"));
                }
                return Ok(Arm { kind: Kind::Default, pattern: None, body: body(input)? });
            }
            other => return Err(Error::new(name.span(), format!("unknown arm `{other}`: {FORMS}"))),
        };
        let pattern = if input.peek(Token![->]) {
            input.parse::<Token![->]>()?;
            Some(Pat::parse_single(input)?)
        } else if matches!(kind, Kind::After { .. } | Kind::Join { .. }) {
            None
        } else {
            return Err(input.error(format!("expected `-> pattern`: the result of `{name}` must be bound, if only to `_`")));
        };
        Ok(Arm { kind, pattern, body: body(input)? })
    }
}

fn operands<const N: usize>(input: ParseStream<'_>) -> Result<[Expr; N]> {
    let inside;
    let parens = parenthesized!(inside in input);
    let operands: Vec<Expr> = inside.parse_terminated(Expr::parse, Token![,])?.into_iter().collect();
    let plural = if N == 1 { "" } else { "s" };
    operands.try_into().map_err(|_| Error::new(parens.span.join(), format!("expected {N} operand{plural}: {FORMS}")))
}

fn body(input: ParseStream<'_>) -> Result<Expr> {
    input.parse::<Token![=>]>()?;
    Expr::parse_with_earlier_boundary_rule(input)
}

/// Whether no comma is needed after the expression, as after the body of a `match` arm.
fn ends_by_itself(body: &Expr) -> bool {
    matches!(
        body,
        Expr::Block(_)
            | Expr::If(_)
            | Expr::Match(_)
            | Expr::Loop(_)
            | Expr::While(_)
            | Expr::ForLoop(_)
            | Expr::Unsafe(_)
            | Expr::Async(_)
            | Expr::Const(_)
    )
}

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let Select { arms, default } = syn::parse2(input)?;
    // Names of ours do not meet those of the bodies.
    let here = Span::mixed_site();
    let name = |what: &str, at: usize| format_ident!("{what}_{at}", span = here);
    let private = quote_spanned!(here=> ::throng::select::__private);
    let ok = quote_spanned!(here=> ::core::result::Result::Ok);
    let err = quote_spanned!(here=> ::core::result::Result::Err);

    // What the library returns: of a select with a default, an option.
    let (success, failure) = match default {
        Some(_) => (quote_spanned!(here=> ::core::option::Option::Some), quote_spanned!(here=> ::core::option::Option::None => #err(()),)),
        None => (ok.clone(), quote_spanned!(here=> #err(cancelled) => #err(cancelled),)),
    };

    let mut operands = Vec::new();
    let mut names = Vec::new();
    let mut places = Vec::new();
    let mut list = Vec::new();
    let mut choices = Vec::new();
    let mut bodies = Vec::new();
    for (at, Arm { kind, pattern, body }) in arms.iter().enumerate() {
        let (operand, place, arm) = (name("operand", at), name("place", at), name("arm", at));
        let (expression, prepare) = match kind {
            Kind::Recv { receiver } => {
                let coerced = coerced(&private, "receiver", &quote!(#operand), receiver.span());
                let prepare = quote_spanned! {here=>
                    let #operand = #coerced;
                    let mut #place = ::core::pin::pin!(#private::recv_place(#operand));
                    let mut #arm = #private::recv_arm(#operand, #place.as_mut());
                };
                (quote_spanned!(here=> &#receiver), prepare)
            }
            Kind::Send { sender, item } => {
                let coerced = coerced(&private, "sender", &quote_spanned!(here=> #operand.0), sender.span());
                let prepare = quote_spanned! {here=>
                    let #operand = (#coerced, #operand.1);
                    let mut #place = ::core::pin::pin!(#private::send_place(#operand.0, #operand.1));
                    let mut #arm = #private::send_arm(#operand.0, #place.as_mut());
                };
                (quote_spanned!(here=> (&#sender, #item)), prepare)
            }
            Kind::After { timeout } => {
                let coerced = coerced(&private, "duration", &quote!(#operand), timeout.span());
                (quote!(#timeout), quote_spanned!(here=> let mut #arm = #private::after_arm(#coerced);))
            }
            Kind::Join { task } => {
                let coerced = coerced(&private, "joinable", &quote!(#operand), task.span());
                let prepare = quote_spanned! {here=>
                    let #operand = #coerced;
                    let mut #place = ::core::pin::pin!(#private::join_place(#operand));
                    let mut #arm = #private::join_arm(#operand, #place.as_mut());
                };
                (quote_spanned!(here=> &#task), prepare)
            }
            Kind::Default => unreachable!("a default is kept apart"),
        };
        operands.push(expression);
        names.push(operand);
        places.push(prepare);
        list.push(quote_spanned!(here=> #private::any(&mut #arm)));
        // The N-th choice is Rest(Rest(..First(value))).
        let nested = |value: TokenStream| {
            (0..at).fold(
                quote_spanned!(here=> #private::Chosen::First(#value)),
                |inner, _| quote_spanned!(here=> #private::Chosen::Rest(#inner)),
            )
        };
        let result = nested(quote_spanned!(here=> #arm.result()));
        choices.push(quote_spanned!(here=> #success(#at) => #ok(#result),));
        let value = Ident::new("value", here);
        let matched = nested(quote_spanned!(here=> #value));
        let bind = match pattern {
            Some(pattern) => quote_spanned!(here=> let #pattern = #value;),
            None => quote_spanned!(here=> let _ = #value;),
        };
        bodies.push(quote_spanned!(here=> #ok(#matched) => { #bind #body }));
    }
    let rest = (0..arms.len()).fold(quote_spanned!(here=> #private::Nothing), |rest, _| quote_spanned!(here=> #private::Chosen<_, #rest>));
    let nothing = (0..arms.len()).fold(quote_spanned!(here=> nothing), |inner, _| quote_spanned!(here=> #private::Chosen::Rest(#inner)));

    let (call, error) = match default {
        Some(_) => (quote_spanned!(here=> #private::poll), quote_spanned!(here=> ())),
        None => (quote_spanned!(here=> #private::wait), quote_spanned!(here=> _)),
    };
    let choose = quote_spanned! {here=>
        let chosen: ::core::result::Result<#rest, #error> = match (#(#operands,)*) {
            (#(#names,)*) => {
                #(#places)*
                match #call([#(#list),*]) {
                    #(#choices)*
                    #success(_) => ::core::unreachable!(),
                    #failure
                }
            }
        };
    };
    // Without a default, the bodies' value is wrapped. If all bodies diverge, the wrapping is unreachable, which is not the user's fault.
    Ok(match default {
        Some(body) => quote_spanned! {here=> {
            #choose
            match chosen {
                #(#bodies)*
                #ok(#nothing) => match nothing {},
                #err(()) => { #body }
            }
        }},
        None => quote_spanned! {here=> {
            #choose
            #[allow(unreachable_code)]
            match chosen {
                #err(cancelled) => #err(cancelled),
                chosen => #ok(match chosen {
                    #(#bodies)*
                    #ok(#nothing) => match nothing {},
                    #err(_) => ::core::unreachable!(),
                }),
            }
        }},
    })
}

/// A call that says, at the operand's place, of which type it must be, and takes a reference to it, to a box of it, and so on.
fn coerced(private: &TokenStream, function: &str, operand: &TokenStream, span: Span) -> TokenStream {
    let function = Ident::new(function, span.resolved_at(Span::mixed_site()));
    let span = function.span();
    quote_spanned!(span=> #private::#function(#operand))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(input: TokenStream) -> String {
        expand(input).expect_err("not a select").to_string()
    }

    #[test]
    fn forms() {
        for good in [
            quote!(),
            quote!(recv(rx) -> v => v, send(tx, 1) -> _ => (), after(d) => (), default => ()),
            quote!(recv(rx,) -> (a | b) => {} send(tx, f(1, 2),) -> mut r => {} after(d) -> t => if x {} else {} default() => {}),
            quote!(join(a) => 1, join(b) -> () => 2),
            quote!(recv(rx) -> Ok(v) | Err(v) => v),
            quote!(default(d) => {}),
        ] {
            let outcome = expand(good.clone());
            assert_eq!(outcome.is_ok(), !good.to_string().contains("Ok (v) | Err"), "{good}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (input, message) in [
            (quote!(receive(rx) -> v => v), "unknown arm `receive`"),
            (quote!(recv(rx) => v), "expected `-> pattern`"),
            (quote!(send(tx) -> r => r), "expected 2 operands"),
            (quote!(recv(rx, 1) -> r => r), "expected 1 operand"),
            (quote!(after() => ()), "expected 1 operand"),
            (quote!(default => (), default => ()), "a select has one `default`"),
            (quote!(default(d) => (), default => ()), "a select has one `default`"),
            (quote!(default -> x => ()), "`default` has no value to bind"),
            (quote!(recv(rx) -> v => v recv(rx) -> w => w), "expected `,`"),
            (quote!(1 => 2), "an arm is `recv(receiver)"),
        ] {
            let error = error(input);
            assert!(error.contains(message), "{error}");
        }
    }
}
