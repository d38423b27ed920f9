//! XEP-0004: Data Forms, as far as a server asks and answers with them.

use crate::xml::{Element, Writer};

/// The namespace.
pub const NS: &str = "jabber:x:data";

/// What is asked of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not shown.
    Hidden,
    /// One line.
    Text,
    /// One line that nobody sees.
    Password,
    /// Several lines.
    Lines,
    /// One address.
    Jid,
    /// Several addresses.
    Jids,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Text => "text-single",
            Self::Password => "text-private",
            Self::Lines => "text-multi",
            Self::Jid => "jid-single",
            Self::Jids => "jid-multi",
        }
    }
}

/// A field that is to be filled in.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub var: &'static str,
    /// What a person reads beside it.
    pub label: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// Appends a form to be filled in; every field is required. Each has the values `current` from the start: forms with such
/// values have one field.
pub fn write_form(form_type: &str, title: &str, fields: &[Field], current: &[String], xml: &mut Writer<'_>) {
    xml.open("x").attr("xmlns", NS).attr("type", "form").leaf("title", title);
    xml.open("field").attr("var", "FORM_TYPE").attr("type", "hidden").leaf("value", form_type).close();
    for field in fields {
        xml.open("field").attr("var", field.var).attr("type", field.kind.name()).attr("label", field.label);
        xml.open("required").close();
        for value in current {
            xml.leaf("value", value);
        }
        xml.close();
    }
    xml.close();
}

/// Appends a form of results.
pub fn write_result(form_type: &str, var: &str, kind: Kind, values: &[String], xml: &mut Writer<'_>) {
    xml.open("x").attr("xmlns", NS).attr("type", "result");
    xml.open("field").attr("var", "FORM_TYPE").attr("type", "hidden").leaf("value", form_type).close();
    xml.open("field").attr("var", var).attr("type", kind.name());
    for value in values {
        xml.leaf("value", value);
    }
    xml.close().close();
}

/// A form that was filled in.
#[derive(Clone, Copy, Debug)]
pub struct Submitted<'a>(Element<'a>);

impl<'a> Submitted<'a> {
    /// The form inside an element, if it is filled in and of this type. A type field without a type counts (XEP-0068).
    pub fn find(parent: Element<'a>, form_type: &str) -> Option<Self> {
        let form = parent.child(NS, "x").filter(|form| form.attr("type") == Some("submit")).map(Self)?;
        form.value("FORM_TYPE").is_none_or(|given| given == form_type).then_some(form)
    }

    /// All values of a field.
    pub fn values(self, var: &str) -> Vec<String> {
        let fields = self.0.children().filter(|field| field.is(NS, "field") && field.attr("var") == Some(var));
        let values = fields.take(1).flat_map(|field| field.children().filter(|value| value.is(NS, "value")));
        values.map(|value| value.text().into_owned()).collect()
    }

    /// The one value of a field.
    pub fn value(self, var: &str) -> Option<String> {
        self.values(var).into_iter().next()
    }
}
