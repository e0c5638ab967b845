//! Which resources are meant when some components are named.

use crate::resource::{CREATE_ORDER, Component, Resource};

/// Returns the resources of the named components and of all that they need, in the order of creation.
pub(super) fn with_needs(only: &[Component]) -> Vec<Resource> {
    resources(only, needs)
}

/// Returns the resources of the named components and of all that depend on them, in the order of removal.
pub(super) fn with_users(only: &[Component]) -> Vec<Resource> {
    let mut resources = resources(only, |user, component| needs(component, user));
    resources.reverse();
    resources
}

fn resources(only: &[Component], pulls_in: impl Fn(Component, Component) -> bool) -> Vec<Resource> {
    let mut wanted = if only.is_empty() { Component::ALL.to_vec() } else { only.to_vec() };
    let mut at = 0;
    while let Some(component) = wanted.get(at).copied() {
        let more = Component::ALL.into_iter().filter(|other| pulls_in(component, *other));
        let more: Vec<Component> = more.filter(|other| !wanted.contains(other)).collect();
        wanted.extend(more);
        at += 1;
    }
    CREATE_ORDER.into_iter().filter(|resource| wanted.contains(&resource.component())).collect()
}

/// Tells whether a resource of `user` needs one of `other`.
fn needs(user: Component, other: Component) -> bool {
    let resources = CREATE_ORDER.into_iter().filter(|resource| resource.component() == user);
    resources.flat_map(Resource::needs).any(|need| need.component() == other)
}
