use leeward_resilience::config::{
    Datum, Enter, Field, Form, Group, Kind, Options, Refused, Visitor, check, visit,
};
use leeward_resilience::{ConfigErrors, Mistake};

use super::node::Node;

/// Options of a resilience policy have the names, units and ranges that the policy gives them.
impl Node<'_> {
    /// Reads the options of a policy over those that are there: what is not given stays as it is.
    pub fn policy<T: Options>(&self, options: &mut T) {
        if !self.tells_policy(options, false) && self.is_given() {
            self.read_policy(options, "");
        }
    }

    /// As [`Node::policy`] for one that may be off. Given at all, and not `off`, it is on.
    pub fn optional_policy<T: Options>(&self, options: &mut Option<T>) {
        if self.tells_policy(&options.clone().unwrap_or_else(T::base), true) {
            return;
        }
        match self.shown().as_deref() {
            _ if !self.is_given() => {}
            Some("off") => *options = None,
            Some("on") => {
                // Where nothing was on, what has to be said is still missing.
                let nothing = options.is_none();
                let options = options.get_or_insert_with(T::base);
                if nothing {
                    visit(options, &mut Reader { open: vec![self.hollow()] });
                }
            }
            _ => self.read_policy(options.get_or_insert_with(T::base), ", or on, or off"),
        }
    }

    fn read_policy<T: Options>(&self, options: &mut T, or: &str) {
        let short = self.shown().and_then(|text| T::from_short(&text));
        match short {
            Some(short) => *options = short,
            None if self.keys().is_some() => visit(options, &mut Reader { open: vec![self.clone()] }),
            None => {
                let short = T::SHORT.map(|short| format!(", or {short}")).unwrap_or_default();
                self.reject("is not understood", format_args!("a map of its options{short}{or}"));
            }
        }
        if let Err(errors) = check(options) {
            let prefix = T::NAME.len() + usize::from(!T::NAME.is_empty());
            self.reject_each(&errors, |path| path.get(prefix..).unwrap_or_default());
        }
    }

    /// Records what a check says against options, each at the option's own place where the document has one. The first
    /// part of a path, the name of the options, may or may not be this node's own key.
    pub fn reject_policy(&self, errors: &ConfigErrors) {
        self.reject_each(errors, |path| path.split_once('.').map_or("", |(_, path)| path));
    }

    fn reject_each(&self, errors: &ConfigErrors, below: impl Fn(&str) -> &str) {
        for Mistake { path, given, allowed, suggestion } in &errors.mistakes {
            let place = self.place_of(below(path));
            let given = place.shown().unwrap_or_else(|| given.clone());
            place.record(
                Some(given),
                "is out of range".to_owned(),
                Some(allowed.clone()),
                suggestion.clone(),
            );
        }
    }

    /// The place at a path of names, or that of the text that stands for all below.
    fn place_of(&self, path: &str) -> Self {
        let mut place = self.clone();
        for name in path.split('.').filter(|name| !name.is_empty()) {
            if place.is_given() && place.keys().is_none() {
                break;
            }
            place = place.get(name);
        }
        place
    }
}

struct Reader<'d> {
    /// The maps that are being read, innermost last.
    open: Vec<Node<'d>>,
}

impl<'d> Reader<'d> {
    fn get(&self, name: &str) -> Option<Node<'d>> {
        self.open.last().map(|node| node.get(name))
    }

    /// Goes inside of a group of which nothing more is said than its name.
    fn word(&mut self, node: &Node<'d>, entered: Enter) -> Enter {
        self.open.push(node.hollow());
        entered
    }

    /// The group is a text.
    fn text(&mut self, node: &Node<'d>, group: &Group, text: &str) -> Enter {
        let (names, optional) = match group.form {
            Form::Plain | Form::Taken => (&[][..], false),
            Form::Optional { .. } => (&[][..], true),
            Form::OneOf { names, optional, .. } => (names, optional),
        };
        if optional && text == "off" {
            return Enter::Off;
        }
        if matches!(group.form, Form::Optional { .. }) && text == "on" {
            return self.word(node, Enter::On);
        }
        if let Some(form) = names.iter().position(|name| *name == text) {
            return self.word(node, Enter::Take(form));
        }
        let suggestion = super::nearest(text, names.iter().copied()).map(str::to_owned);
        let message = "is not understood".to_owned();
        node.record(Some(text.to_owned()), message, Some(group.written()), suggestion);
        Enter::Skip
    }

    /// The group is one of several forms, given by a map.
    fn form(&mut self, node: Node<'d>, group: &Group, names: &[&str]) -> Enter {
        let keys = node.keys().unwrap_or_default();
        let mut forms = (0..names.len()).filter(|form| keys.contains(&names[*form]));
        let (form, another) = (forms.next(), forms.next());
        // Asking for all of them makes any other key an unknown one, which is reported at the end.
        for name in names {
            let _known = node.get(name);
        }
        match (form, another) {
            (Some(form), None) => {
                self.open.push(node);
                return Enter::Take(form);
            }
            (None, _) if !keys.is_empty() => {}
            _ => node.record(None, "is not one form".to_owned(), Some(group.written()), None),
        }
        Enter::Skip
    }
}

impl Visitor for Reader<'_> {
    fn field(&mut self, field: &Field, _: Datum) -> Option<Datum> {
        let node = self.get(field.name)?;
        let allowed = field.written();
        if !node.is_given() {
            if field.required {
                node.record(None, "is required".to_owned(), Some(allowed), None);
            }
            return None;
        }
        let text = node.scalar(field.kind.noun(), &allowed)?;
        match (field.parse(text), &field.kind) {
            (Ok(datum), _) => return Some(datum),
            (Err(Refused::Range), _) => node.reject("is out of range", allowed),
            (Err(Refused::Form), Kind::Choice(names)) => {
                node.reject_name("is not a choice", names.iter().copied());
            }
            (Err(Refused::Form), kind) => node.reject(format_args!("is not {}", kind.noun()), allowed),
        }
        None
    }

    fn enter(&mut self, group: &Group, short: &mut dyn FnMut(&str) -> bool) -> Enter {
        let Some(node) = self.get(group.name) else { return Enter::Skip };
        if !node.is_given() {
            // The options of a form are shown also when there is no word of them: one may be required.
            return if group.form == Form::Taken { self.word(&node, Enter::Inside) } else { Enter::Skip };
        }
        if let Some(text) = node.shown() {
            let is_form = matches!(group.form, Form::OneOf { names, .. } if names.contains(&text.as_str()));
            if group.short.is_some() && !is_form && short(&text) {
                return Enter::Skip;
            }
            return self.text(&node, group, &text);
        }
        if node.keys().is_none() {
            node.reject("is not a map", group.written());
            return Enter::Skip;
        }
        match group.form {
            Form::OneOf { names, .. } => self.form(node, group, names),
            Form::Plain | Form::Taken => {
                self.open.push(node);
                Enter::Inside
            }
            Form::Optional { .. } => {
                self.open.push(node);
                Enter::On
            }
        }
    }

    fn leave(&mut self) {
        self.open.pop();
    }
}
