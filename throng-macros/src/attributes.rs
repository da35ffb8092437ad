//! `#[throng::main]` and `#[throng::test]`: the function's body becomes a closure that a runtime runs.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ItemFn, MetaNameValue, Result, ReturnType, Token, Type};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Main,
    Test,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Main => "#[throng::main]",
            Kind::Test => "#[throng::test]",
        }
    }
}

#[derive(Default)]
struct Settings {
    workers: Option<Expr>,
    stack_size: Option<Expr>,
}

impl Settings {
    fn parse(kind: Kind, arguments: TokenStream) -> Result<Settings> {
        let mut settings = Settings::default();
        for MetaNameValue { path, value, .. } in Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(arguments)? {
            let setting = if path.is_ident("workers") {
                &mut settings.workers
            } else if path.is_ident("stack_size") {
                &mut settings.stack_size
            } else {
                return Err(Error::new(path.span(), format!("{} takes `workers = n` and `stack_size = bytes`", kind.name())));
            };
            if setting.replace(value).is_some() {
                return Err(Error::new(path.span(), "given twice"));
            }
        }
        Ok(settings)
    }

    /// What to call with the closure.
    fn runner(&self) -> TokenStream {
        if self.workers.is_none() && self.stack_size.is_none() {
            return quote!(::throng::run);
        }
        let workers = self.workers.iter();
        let stack_size = self.stack_size.iter();
        quote! {
            ::throng::Runtime::builder()
                #(.workers(#workers))*
                #(.stack_size(#stack_size))*
                .build()
                .expect("the runtime starts")
                .run
        }
    }
}

pub(crate) fn expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let settings = Settings::parse(kind, arguments)?;
    let ItemFn { attrs, vis, sig, block } =
        syn::parse2(item).map_err(|error| Error::new(error.span(), format!("{} goes on a function with a body: {error}", kind.name())))?;

    if let Some(token) = &sig.asyncness {
        let advice = format!("{} goes on a plain `fn`: the body runs as a goroutine, which waits without `await`", kind.name());
        return Err(Error::new(token.span(), advice));
    }
    if let Some(input) = sig.inputs.first() {
        return Err(Error::new(input.span(), format!("a function with {} takes no arguments", kind.name())));
    }
    if !sig.generics.params.is_empty() {
        return Err(Error::new(sig.generics.span(), format!("a function with {} is not generic", kind.name())));
    }
    if kind == Kind::Main && sig.ident != "main" {
        return Err(Error::new(sig.ident.span(), "#[throng::main] goes on `fn main`; use `throng::run` elsewhere"));
    }
    if kind == Kind::Test
        && let Some(twice) = attrs.iter().find(|attribute| attribute.path().is_ident("test"))
    {
        return Err(Error::new(twice.span(), "#[throng::test] is a `#[test]` already"));
    }

    let test = (kind == Kind::Test).then(|| quote!(#[::core::prelude::v1::test]));
    // The closure's type is said where it can be, so that `?` and `into()` in the body know it.
    let output = match &sig.output {
        ReturnType::Type(arrow, output) if !matches!(**output, Type::ImplTrait(_) | Type::Never(_)) => Some(quote!(#arrow #output)),
        _ => None,
    };
    let runner = settings.runner();
    let span = block.brace_token.span.join().resolved_at(Span::mixed_site());
    let call = quote_spanned!(span=> #runner(|| #output #block));
    Ok(quote! {
        #test
        #(#attrs)*
        #vis #sig {
            #call
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(kind: Kind, arguments: TokenStream, item: TokenStream) -> String {
        match expand(kind, arguments, item) {
            Ok(tokens) => tokens.to_string().replace(' ', ""),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn functions() {
        let main = expanded(
            Kind::Main,
            quote!(),
            quote!(
                fn main() -> Result<(), E> {
                    f()?;
                    Ok(())
                }
            ),
        );
        assert_eq!(main, "fnmain()->Result<(),E>{::throng::run(||->Result<(),E>{f()?;Ok(())})}");
        let test = expanded(
            Kind::Test,
            quote!(workers = 2, stack_size = 1 << 16),
            quote!(
                #[ignore]
                fn works() {}
            ),
        );
        assert!(test.starts_with("#[::core::prelude::v1::test]#[ignore]fnworks(){"), "{test}");
        assert!(test.contains(".workers(2).stack_size(1<<16).build()"), "{test}");
    }

    #[test]
    fn mistakes_are_named() {
        for (kind, arguments, item, message) in [
            (
                Kind::Main,
                quote!(),
                quote!(
                    async fn main() {}
                ),
                "goes on a plain `fn`",
            ),
            (
                Kind::Main,
                quote!(),
                quote!(
                    fn main(x: u8) {}
                ),
                "takes no arguments",
            ),
            (
                Kind::Main,
                quote!(),
                quote!(
                    fn start() {}
                ),
                "goes on `fn main`",
            ),
            (
                Kind::Main,
                quote!(threads = 2),
                quote!(
                    fn main() {}
                ),
                "takes `workers = n`",
            ),
            (
                Kind::Main,
                quote!(workers = 2, workers = 3),
                quote!(
                    fn main() {}
                ),
                "given twice",
            ),
            (
                Kind::Test,
                quote!(),
                quote!(
                    fn t<T>() {}
                ),
                "is not generic",
            ),
            (
                Kind::Test,
                quote!(),
                quote!(
                    #[test]
                    fn t() {}
                ),
                "is a `#[test]` already",
            ),
            (
                Kind::Test,
                quote!(),
                quote!(
                    struct S;
                ),
                "goes on a function",
            ),
        ] {
            let error = expanded(kind, arguments, item);
            assert!(error.starts_with("error: ") && error.contains(message), "{error}");
        }
    }
}
