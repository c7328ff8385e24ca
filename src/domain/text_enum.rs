//! The macro that gives an enum its text form: one literal for each variant, used by serde, SQL and people alike.

/// Defines a field-less enum whose variants have a text form.
///
/// The literal next to a variant is its name in JSON, in the database, in metrics and on the command line. From it the
/// macro derives `Serialize`, `Deserialize`, `JsonSchema`, `ALL`, `NAMES`, `as_str`, `from_name` and `Display`.
macro_rules! text_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        $vis enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// The text forms of [`Self::ALL`].
            pub const NAMES: [&'static str; [$($text),+].len()] = [$($text),+];

            /// Every variant, in the order of declaration.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The variant with this text form.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "enum": Self::NAMES})
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

pub(crate) use text_enum;

#[cfg(test)]
mod tests {
    text_enum! {
        enum Light {
            Red = "red",
            GreenArrow = "green-arrow",
        }
    }

    #[test]
    fn every_form_of_a_variant_uses_its_literal() {
        for (light, text) in Light::ALL.into_iter().zip(["red", "green-arrow"]) {
            assert_eq!(light.as_str(), text);
            assert_eq!(light.to_string(), text);
            assert_eq!(Light::from_name(text), Some(light));
            assert_eq!(serde_json::to_value(light).unwrap(), text);
            assert_eq!(serde_json::from_value::<Light>(text.into()).unwrap(), light);
        }
        assert_eq!(Light::ALL, [Light::Red, Light::GreenArrow]);
        assert_eq!(Light::NAMES, ["red", "green-arrow"]);
        assert_eq!(Light::from_name("Red"), None);
    }
}
