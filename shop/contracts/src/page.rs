//! Lists come in pages, walked by a cursor: an offset would skip or repeat rows while the list grows.

use leeward_service::{Invalid, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How many entries a page has when the client does not say.
pub const LIMIT_DEFAULT: u32 = 20;

/// How many entries a page has at most: an answer stays below a few hundred kilobytes.
pub const LIMIT_MAX: u32 = 100;

/// Which page of a list: the query that every list takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Where the page starts: the `next` of the page before.
    pub after: Option<String>,
    /// How many entries, 1 to 100; 20 when not given.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u32>,
}

impl PageQuery {
    /// How many entries the page has at most. Read one more row than that, for [`Page::cut`].
    ///
    /// # Errors
    /// 422 for a number that is out of range.
    pub fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        Invalid::default().check((1..=LIMIT_MAX).contains(&limit), "limit", "must be 1 to 100").finish()?;
        Ok(limit)
    }

    /// The id after which the page starts, where a list is in ascending order of ids: empty at the list's start.
    #[must_use]
    pub fn after(&self) -> &str {
        self.after.as_deref().unwrap_or_default()
    }

    /// The number before which the page starts, where a list has the highest number first.
    ///
    /// # Errors
    /// 400 for an `after` that no page gave out.
    pub fn before(&self) -> Result<i64, Problem> {
        let Some(text) = &self.after else { return Ok(i64::MAX) };
        text.parse().map_err(|_| Problem::malformed("`after` must be the `next` of a page"))
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries, in the list's order.
    pub items: Vec<T>,
    /// Where the next page starts: hand it back as `after`. Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The page out of `rows` that were read with a limit of one more than `limit`: the surplus row only says that
    /// there is a next page, which starts after the last row shown.
    #[must_use]
    pub fn cut(mut rows: Vec<T>, limit: u32, cursor: impl FnOnce(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Self { items: rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_out_of_range_is_refused() {
        let limit =
            |limit| PageQuery { after: None, limit }.limit().map_err(|problem| problem.status().as_u16());
        assert_eq!(
            (limit(None), limit(Some(1)), limit(Some(LIMIT_MAX))),
            (Ok(LIMIT_DEFAULT), Ok(1), Ok(LIMIT_MAX))
        );
        assert_eq!((limit(Some(0)), limit(Some(LIMIT_MAX + 1))), (Err(422), Err(422)));
    }

    #[test]
    fn a_cursor_that_no_page_gave_out_is_malformed() {
        let before = |after: &str| PageQuery { after: Some(after.into()), limit: None }.before();
        assert_eq!(before("17"), Ok(17));
        assert_eq!(before("x").map_err(|problem| problem.status().as_u16()), Err(400));
        assert_eq!(PageQuery::default().before(), Ok(i64::MAX));
    }

    #[test]
    fn a_surplus_row_is_the_sign_of_a_next_page() {
        let cursor = |row: &i32| row.to_string();
        let page = Page::cut(vec![1, 2, 3], 2, cursor);
        assert_eq!((page.items, page.next.as_deref()), (vec![1, 2], Some("2")));
        let page = Page::cut(vec![1, 2], 2, cursor);
        assert_eq!((page.items, page.next), (vec![1, 2], None));
        assert_eq!(Page::cut(Vec::<i32>::new(), 2, cursor).next, None);
    }
}
