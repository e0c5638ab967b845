//! Reading moto's XML, and changing parts of it in place.

use std::ops::Range;

use roxmltree::Node;

/// Returns the text safe inside an element.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns the first element on that path below a node.
pub(crate) fn find<'a, 'i>(node: Node<'a, 'i>, path: &[&str]) -> Option<Node<'a, 'i>> {
    path.iter().try_fold(node, |at, name| at.children().find(|child| child.tag_name().name() == *name))
}

/// Returns the text of the element on that path; absent when it is empty.
pub(crate) fn text<'a>(node: Node<'a, '_>, path: &[&str]) -> Option<&'a str> {
    find(node, path)?.text()
}

/// Returns the elements inside the list on that path, whatever they are called.
pub(crate) fn items<'a, 'i>(node: Node<'a, 'i>, path: &[&str]) -> Vec<Node<'a, 'i>> {
    find(node, path).map(|list| list.children().filter(Node::is_element).collect()).unwrap_or_default()
}

/// Returns the texts at `path` inside every member of the list at `list`.
pub(crate) fn texts(node: Node<'_, '_>, list: &[&str], path: &[&str]) -> Vec<String> {
    items(node, list).into_iter().filter_map(|item| text(item, path)).map(str::to_owned).collect()
}

/// Returns every element of that name in a document.
pub(crate) fn all<'a, 'i>(document: &'a roxmltree::Document<'i>, name: &str) -> Vec<Node<'a, 'i>> {
    document.descendants().filter(|node| node.tag_name().name() == name).collect()
}

/// Replaces those ranges of a text; they must not overlap.
pub(crate) fn replace(source: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    for (range, with) in edits {
        out.push_str(&source[at..range.start]);
        out.push_str(&with);
        at = range.end;
    }
    out.push_str(&source[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "<a><set><item><id>1</id></item><item><id>2</id></item></set><e/></a>";

    #[test]
    fn lists_and_texts_are_found_by_path() {
        let document = roxmltree::Document::parse(SOURCE).unwrap();
        let root = document.root_element();
        assert_eq!(texts(root, &["set"], &["id"]), ["1", "2"]);
        assert_eq!(text(root, &["set", "item", "id"]), Some("1"));
        assert_eq!(text(root, &["e"]), None);
        assert!(items(root, &["none"]).is_empty());
    }

    #[test]
    fn edits_leave_everything_else_as_it_was() {
        let document = roxmltree::Document::parse(SOURCE).unwrap();
        let edits =
            all(&document, "id").into_iter().rev().map(|id| (id.range(), "<x/>".to_owned())).collect();
        assert_eq!(replace(SOURCE, edits), "<a><set><item><x/></item><item><x/></item></set><e/></a>");
    }
}
