//! The frame of every page: one file that needs nothing else, readable by day and by night.

use std::fmt::Write as _;

use super::escape;

const STYLE: &str = include_str!("page.css");

/// A page. All but the title is markup already.
pub(crate) struct Page<'a> {
    /// What the window and the page are called, as text.
    pub(crate) title: &'a str,
    /// The page's own rules, after those of every page.
    pub(crate) style: &'a str,
    /// A script that the page can do without.
    pub(crate) script: Option<&'a str>,
    /// What follows the title.
    pub(crate) header: &'a str,
    /// The rest.
    pub(crate) body: &'a str,
}

impl Page<'_> {
    /// Returns the file. A browser is told to load nothing, and to run nothing but the page's own script.
    pub(crate) fn render(&self) -> String {
        let Page { title, style, script, header, body } = self;
        let title = escape(title);
        let allowed = if script.is_some() { "; script-src 'unsafe-inline'" } else { "" };
        let script = script.map(|script| format!("<script>{script}</script>\n")).unwrap_or_default();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'{allowed}\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{title}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n\
             <header><h1>{title}</h1>\n{header}</header>\n{body}{script}</body>\n</html>\n"
        )
    }
}

/// One line of a table: its class, what is told of it beside the cells, and the cells as text.
pub(crate) struct Line<'a> {
    /// `good`, `wait` or `bad`.
    pub(crate) class: &'a str,
    /// The first heads the line.
    pub(crate) cells: Vec<&'a str>,
}

/// Returns a table of text under a title; nothing at all if it has no line.
pub(crate) fn table<'a>(title: &str, head: &[&str], lines: impl IntoIterator<Item = Line<'a>>) -> String {
    let mut rows = String::new();
    for Line { class, cells } in lines {
        let mut cells = cells.iter();
        let first = cells.next().map(|cell| escape(cell)).unwrap_or_default();
        let _ = write!(rows, "<tr class=\"{}\"><th scope=\"row\">{first}</th>", escape(class));
        for cell in cells {
            let _ = write!(rows, "<td>{}</td>", escape(cell));
        }
        rows.push_str("</tr>\n");
    }
    if rows.is_empty() {
        return rows;
    }
    let head: String = head.iter().map(|cell| format!("<th scope=\"col\">{}</th>", escape(cell))).collect();
    format!(
        "<h2>{}</h2>\n<div class=\"scroll\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        escape(title)
    )
}

/// Returns a list of text under a title; nothing at all if it is empty.
pub(crate) fn list(title: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
    format!("<h2>{}</h2>\n<ul>\n{items}</ul>\n", escape(title))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the tags of a page in order; panics if they do not close as they open.
    pub(crate) fn tags(page: &str) -> Vec<String> {
        const EMPTY: [&str; 4] = ["meta", "input", "br", "!DOCTYPE"];
        let mut open: Vec<String> = Vec::new();
        let mut all = Vec::new();
        let markup = without(&without(page, "style"), "script");
        for piece in markup.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').expect("a tag is closed");
            let name = tag.split([' ', '\n']).next().unwrap_or_default().to_owned();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop().as_deref(), Some(name), "in {tag}"),
                None if !EMPTY.contains(&name.as_str()) => open.push(name.clone()),
                None => {}
            }
            all.push(name);
        }
        assert!(open.is_empty(), "never closed: {open:?}");
        all
    }

    /// Returns the page with nothing inside the first element of that name.
    fn without(page: &str, name: &str) -> String {
        let Some((before, rest)) = page.split_once(&format!("<{name}>")) else { return page.to_owned() };
        let (_, after) = rest.split_once(&format!("</{name}>")).expect("it is closed");
        format!("{before}<{name}></{name}>{after}")
    }

    /// Tells whether nothing in a page leads out of it.
    pub(crate) fn asks_for_nothing(page: &str) -> bool {
        let page = page.replace("http-equiv", "");
        ["http:", "https:", "://", "url(", "@import", " src=", "<link", "onclick"]
            .iter()
            .all(|part| !page.contains(part))
    }

    #[test]
    fn text_stays_text_wherever_it_stands() {
        let hostile = "</title></td></li><script>alert(\"x\")</script>\u{202e}\u{1b}[2J";
        let lines = [Line { class: hostile, cells: vec![hostile, hostile] }];
        let body = table(hostile, &[hostile, "b"], lines) + &list(hostile, &[hostile.to_owned()]);
        let page = Page { title: hostile, style: "", script: None, header: "", body: &body }.render();
        let tags = tags(&page);
        assert!(!tags.iter().any(|tag| tag == "script"), "{page}");
        assert!(!page.contains(['\u{202e}', '\u{1b}']) && asks_for_nothing(&page));
        assert!(!page.contains("script-src"), "a page without a script runs none");
    }

    #[test]
    fn what_is_empty_has_no_title() {
        assert_eq!(table("steps", &["step"], []) + &list("notes", &[]), "");
    }
}
