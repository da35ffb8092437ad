//! `select!`: parsing, and what it becomes.
//!
//! ```text
//! select! { recv(rx) -> a => A, send(tx, x) -> b => B }
//! ```
//! becomes
//! ```text
//! {
//!     let chosen = match (receiver(&rx), (sender(&tx), x)) {      // operands: evaluated once, in order; temporaries live until the choice is made
//!         (operand_0, operand_1) => {
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
}

/// An arm as it is written.
enum Written {
    Arm(Arm),
    Default(Expr),
}

const FORMS: &str = "an arm is `recv(receiver) -> pattern => body`, `send(sender, item) -> pattern => body`, `after(duration) => body` or `default => body`";

impl Parse for Select {
    fn parse(input: ParseStream<'_>) -> Result<Select> {
        let mut select = Select { arms: Vec::new(), default: None };
        // `default(duration)` counts as a default too.
        let mut defaults = false;
        while !input.is_empty() {
            let name = input.fork().parse::<Ident>().ok();
            let written = input.parse()?;
            if let Some(name) = name.filter(|name| name == "default") {
                if defaults {
                    return Err(Error::new(name.span(), "a select has one `default`"));
                }
                defaults = true;
            }
            let body = match written {
                Written::Arm(arm) => {
                    select.arms.push(arm);
                    &select.arms[select.arms.len() - 1].body
                }
                Written::Default(body) => &*select.default.insert(body),
            };
            if input.peek(Token![,]) {
                input.parse::<Token![,]>()?;
            } else if !input.is_empty() && !ends_by_itself(body) {
                return Err(input.error("expected `,` after the arm's body"));
            }
        }
        Ok(select)
    }
}

impl Parse for Written {
    fn parse(input: ParseStream<'_>) -> Result<Written> {
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
                        let body = body(input)?;
                        return Ok(Written::Arm(Arm { kind: Kind::After { timeout }, pattern: None, body }));
                    }
                }
                if input.peek(Token![->]) {
                    return Err(input.error("`default` has no value to bind"));
                }
                return Ok(Written::Default(body(input)?));
            }
            other => return Err(Error::new(name.span(), format!("unknown arm `{other}`: {FORMS}"))),
        };
        let pattern = if input.peek(Token![->]) {
            input.parse::<Token![->]>()?;
            Some(Pat::parse_single(input)?)
        } else if matches!(kind, Kind::After { .. }) {
            None
        } else {
            return Err(input.error(format!("expected `-> pattern`: the result of `{name}` must be bound, if only to `_`")));
        };
        Ok(Written::Arm(Arm { kind, pattern, body: body(input)? }))
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

    let mut operands = Vec::new();
    let mut names = Vec::new();
    let mut places = Vec::new();
    let mut list = Vec::new();
    let mut choices = Vec::new();
    let mut bodies = Vec::new();
    for (at, Arm { kind, pattern, body }) in arms.iter().enumerate() {
        let (operand, place, arm) = (name("operand", at), name("place", at), name("arm", at));
        let (expression, prepare) = match kind {
            Kind::Recv { receiver } => (
                coerced(&private, "receiver", quote!(&#receiver), receiver.span()),
                quote_spanned! {here=>
                    let mut #place = ::core::pin::pin!(#private::recv_place(#operand));
                    let mut #arm = #private::recv_arm(#operand, #place.as_mut());
                },
            ),
            Kind::Send { sender, item } => {
                let sender = coerced(&private, "sender", quote!(&#sender), sender.span());
                (
                    quote_spanned!(here=> (#sender, #item)),
                    quote_spanned! {here=>
                        let mut #place = ::core::pin::pin!(#private::send_place(#operand.0, #operand.1));
                        let mut #arm = #private::send_arm(#operand.0, #place.as_mut());
                    },
                )
            }
            Kind::After { timeout } => (
                coerced(&private, "duration", quote!(#timeout), timeout.span()),
                quote_spanned!(here=> let mut #arm = #private::after_arm(#operand);),
            ),
        };
        operands.push(expression);
        names.push(operand);
        places.push(prepare);
        list.push(quote_spanned!(here=> #private::any(&mut #arm)));
        // The N-th choice is Rest(Rest(..First(value))).
        let nested = |value: TokenStream| {
            (0..at).fold(quote_spanned!(here=> #private::Chosen::First(#value)), |inner, _| {
                quote_spanned!(here=> #private::Chosen::Rest(#inner))
            })
        };
        let result = nested(quote_spanned!(here=> #arm.result()));
        choices.push(quote_spanned!(here=> #ok(#at) => #ok(#result),));
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

    let (call, failure, otherwise) = match &default {
        Some(body) => (quote_spanned!(here=> #private::poll), quote_spanned!(here=> ()), quote_spanned!(here=> #err(()) => { #body })),
        None => (quote_spanned!(here=> #private::wait), quote_spanned!(here=> _), quote!()),
    };
    let choose = quote_spanned! {here=>
        let chosen: ::core::result::Result<#rest, #failure> = match (#(#operands,)*) {
            (#(#names,)*) => {
                #(#places)*
                match #call([#(#list),*]) {
                    #(#choices)*
                    #ok(_) => ::core::unreachable!(),
                    #err(failure) => #err(failure),
                }
            }
        };
    };
    // Without a default, the bodies' value is wrapped. If all bodies diverge, the wrapping is unreachable, which is not the user's fault.
    Ok(match default {
        Some(_) => quote_spanned! {here=> {
            #choose
            match chosen {
                #(#bodies)*
                #ok(#nothing) => match nothing {},
                #otherwise
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

/// A call that says, at the operand, of which type it must be.
fn coerced(private: &TokenStream, function: &str, operand: TokenStream, span: Span) -> TokenStream {
    let function = Ident::new(function, span.resolved_at(Span::mixed_site()));
    let span = function.span();
    quote_spanned!(span=> #private::#function(#operand))
}
