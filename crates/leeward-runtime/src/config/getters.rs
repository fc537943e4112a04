use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::node::Node;
use super::secret::{self, Secret};
use super::shape::{Bounds, Form};
use crate::units::{self, Rate};

/// Each getter yields `None` when nothing is given, and also when it records a mistake.
impl Node<'_> {
    /// Text; empty text is a mistake.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        if self.tells(|| Form::Text) {
            return None;
        }
        let text = self.scalar("text", "text")?;
        if text.is_empty() {
            self.reject("is empty", "text of at least one character");
            return None;
        }
        Some(text.to_owned())
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        if self.tells(|| Form::Flag) {
            return None;
        }
        self.one_of(&[("true", true), ("false", false)])
    }

    /// A whole number within a range.
    #[must_use]
    pub fn int<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + Display + PartialOrd + Copy,
    {
        if let Some(value) = self.within(&range, |text| text.parse().ok()) {
            return Some(value);
        }
        if !self.is_given() {
            return None;
        }
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        if self.tells(|| Form::Whole(bounds(range.start(), range.end(), &allowed))) {
            return None;
        }
        self.in_range("a whole number", &allowed, &range, |text| text.parse().ok())
    }

    /// A number within a range.
    #[must_use]
    pub fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        if let Some(value) = self.within(&range, finite) {
            return Some(value);
        }
        if !self.is_given() {
            return None;
        }
        let allowed = format!("a number from {} to {}", range.start(), range.end());
        if self.tells(|| Form::Number(bounds(range.start(), range.end(), &allowed))) {
            return None;
        }
        self.in_range("a number", &allowed, &range, finite)
    }

    /// A duration within a range: `250ms`, `5s`, `1m30s`.
    #[must_use]
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        if let Some(value) = self.within(&range, units::duration) {
            return Some(value);
        }
        if !self.is_given() {
            return None;
        }
        let (least, most) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
        let allowed = format!("a number with us, ms, s, m, h or d, from {least} to {most}");
        if self.tells(|| Form::Duration(bounds(&least, &most, &allowed))) {
            return None;
        }
        self.in_range("a duration", &allowed, &range, units::duration)
    }

    /// A size in bytes within a range: `512B`, `64KiB`, `10MiB`.
    #[must_use]
    pub fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        if let Some(value) = self.within(&range, units::size) {
            return Some(value);
        }
        if !self.is_given() {
            return None;
        }
        let (least, most) = (units::show_size(*range.start()), units::show_size(*range.end()));
        let allowed = format!("a number with B, KiB, MiB, GiB, kB, MB or GB, from {least} to {most}");
        if self.tells(|| Form::Size(bounds(&least, &most, &allowed))) {
            return None;
        }
        self.in_range("a size", &allowed, &range, units::size)
    }

    /// A percentage as a share from 0 to 1, within a range of shares: `20%` is 0.2.
    #[must_use]
    pub fn percentage(&self, range: RangeInclusive<f64>) -> Option<f64> {
        if let Some(value) = self.within(&range, units::percentage) {
            return Some(value);
        }
        if !self.is_given() {
            return None;
        }
        let (least, most) = (units::show_percentage(*range.start()), units::show_percentage(*range.end()));
        let allowed = format!("a number with %, from {least} to {most}");
        if self.tells(|| Form::Percentage(bounds(&least, &most, &allowed))) {
            return None;
        }
        self.in_range("a percentage", &allowed, &range, units::percentage)
    }

    /// A rate: `100/s`, `5000/h`, `1/10s`.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        if self.tells(|| Form::Rate) {
            return None;
        }
        self.parse_with(
            "a rate",
            "a whole number of at least 1, a slash, and s, m, h, d or a duration",
            units::rate,
        )
    }

    /// One of the named choices.
    #[must_use]
    pub fn one_of<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names = || choices.iter().map(|(name, _)| *name);
        if self.tells(|| Form::Choice(names().map(str::to_owned).collect())) {
            return None;
        }
        if !self.is_given() {
            return None;
        }
        let text = match self.scalar_text() {
            Some(text) => text,
            None => self.scalar("one of the choices", &names().collect::<Vec<_>>().join(", "))?,
        };
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| choice.clone());
        if found.is_none() {
            self.reject_name("is not a choice", names());
        }
        found
    }

    /// Whatever parses itself, such as an address; `what` and `allowed` say what it is and how it is written.
    #[must_use]
    pub fn parse<T>(&self, what: &str, allowed: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        if self.tells(|| Form::Written(what.to_owned(), allowed.to_owned())) {
            return None;
        }
        let text = self.scalar(what, allowed)?;
        text.parse().map_err(|error| self.reject(format!("is not {what}: {error}"), allowed)).ok()
    }

    /// What `read` makes of the text; `what` and `allowed` say what it is and how it is written.
    #[must_use]
    pub fn parse_with<T>(
        &self,
        what: &str,
        allowed: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        if self.tells(|| Form::Written(what.to_owned(), allowed.to_owned())) {
            return None;
        }
        let value = read(self.scalar(what, allowed)?);
        if value.is_none() {
            self.reject(format!("is not {what}"), allowed);
        }
        value
    }

    /// A list of texts. A single text counts as a list of one.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        if self.tells(|| Form::Texts) {
            return Vec::new();
        }
        if self.scalar_text().is_some() {
            return self.text().into_iter().collect();
        }
        self.items().into_iter().filter_map(|item| item.required().text()).collect()
    }

    /// A file or folder; a relative path starts at the document's folder.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.text().map(|text| self.doc.folder().join(text))
    }

    /// A secret, given by reference: `env:NAME` or `file:PATH`. The report of a mistake never shows what was
    /// given.
    #[must_use]
    pub fn secret(&self) -> Option<Secret> {
        if self.tells(|| Form::Secret) {
            return None;
        }
        let text = self.scalar("a reference to a secret", secret::ALLOWED)?;
        let secret = Secret::resolve(text, self.doc.folder(), self.doc.environment());
        secret
            .map_err(|error| self.record(None, error.to_string(), Some(secret::ALLOWED.to_owned()), None))
            .ok()
    }

    /// The text of a file of at most `bytes_max` bytes, given by reference: `file:PATH`. A relative path starts at the
    /// document's folder.
    #[must_use]
    pub fn text_of_file(&self, bytes_max: u64) -> Option<String> {
        const ALLOWED: &str = "a reference, `file:PATH`";
        let path = self.parse_with("a reference to a file", ALLOWED, |text| {
            text.strip_prefix("file:")
                .filter(|path| !path.is_empty())
                .map(|path| self.doc.folder().join(path))
        })?;
        let text = secret::read(&path, bytes_max);
        text.map_err(|error| self.record(None, error.to_string(), Some(ALLOWED.to_owned()), None)).ok()
    }

    /// The value, where one is given that is right: nobody asks then what would have been allowed.
    fn within<T: PartialOrd>(
        &self,
        range: &RangeInclusive<T>,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        read(self.scalar_text()?).filter(|value| range.contains(value))
    }

    fn in_range<T: PartialOrd>(
        &self,
        what: &str,
        allowed: &str,
        range: &RangeInclusive<T>,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.parse_with(what, allowed, read)?;
        if !range.contains(&value) {
            self.reject("is out of range", allowed);
            return None;
        }
        Some(value)
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn bounds(least: impl Display, most: impl Display, allowed: &str) -> Bounds {
    Bounds {
        least: least.to_string(),
        above: false,
        most: Some(most.to_string()),
        allowed: allowed.to_owned(),
    }
}
