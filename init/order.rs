//! `mote/after`: which pods wait for which, and whether some of them wait for each other.

use mote::board::MAX_PODS;

use crate::manifest::RestartPolicy;
use crate::supervise::pod::Phase;
use crate::supervise::{Conf, Task};
use crate::world::{PodRow, Reason, World};

/// Whether pod `p` may begin: each of those that it comes after is ready or has succeeded.
pub fn may_begin(world: &World<'_>, p: usize) -> bool {
    let Some(pod) = world.pods.get(p) else { return false };
    pod.after.split_whitespace().all(|name| {
        let q = world.pods.iter().position(|pod| pod.failed.is_none() && pod.name.as_str() == name);
        q.is_some_and(|q| is_there(world, q))
    })
}

/// Whether those that come after pod `q` need not wait any longer. One that is to end some day, and has no readiness probe to
/// say otherwise, is of use to them when it has ended.
fn is_there(world: &World<'_>, q: usize) -> bool {
    let ends = world.pods.get(q).is_some_and(|pod| pod.policy != RestartPolicy::Always);
    let says = |conf: &Conf| conf.probes.get(Task::Readiness as usize).is_some_and(Option::is_some);
    let ready = || world.is_ready(q) && (!ends || world.views(q).any(|(_, conf, _)| says(conf)));
    world.phase(q) == Phase::Succeeded || ready()
}

/// Why pod `p` can never begin, if the pods that it comes after come after it.
pub fn in_cycle(pods: &[PodRow], p: usize) -> Option<Reason> {
    let path = cycle(pods.len(), p, &|a, b| {
        let (Some(a), Some(b)) = (pods.get(a), pods.get(b)) else { return false };
        a.failed.is_none()
            && b.failed.is_none()
            && a.after.split_whitespace().any(|name| name == b.name.as_str())
    })?;
    let mut why = Reason::of(format_args!("metadata.annotations[\"mote/after\"]: in a cycle:"));
    for p in path.iter().chain([&p]) {
        let name = pods.get(*p).map_or("", |pod| pod.name.as_str());
        let _ = std::fmt::Write::write_fmt(&mut why, format_args!(" {name}")); // cut is fine
    }
    Some(why)
}

/// The shortest way from `start` back to itself, of `count` places, along the edges that `follows` says; allocates nothing.
fn cycle(
    count: usize,
    start: usize,
    follows: &dyn Fn(usize, usize) -> bool,
) -> Option<heapless::Vec<usize, MAX_PODS>> {
    let mut from = [usize::MAX; MAX_PODS];
    let mut queue = heapless::Deque::<usize, MAX_PODS>::new();
    let _ = queue.push_back(start); // it is empty
    while let Some(at) = queue.pop_front() {
        for next in 0..count.min(MAX_PODS) {
            let Some(known) = from.get_mut(next).filter(|known| **known == usize::MAX) else { continue };
            if !follows(at, next) {
                continue;
            }
            *known = at;
            if next == start {
                let mut path = heapless::Vec::new();
                let mut at = at;
                let _ = path.push(at); // as below: each place is passed once
                while at != start {
                    at = *from.get(at)?;
                    let _ = path.push(at);
                }
                path.reverse();
                return Some(path);
            }
            let _ = queue.push_back(next); // each place comes in once
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_found_by_who_is_in_it_and_by_nobody_else() {
        // 0 -> 1 -> 2 -> 0, 3 -> 0, 4 -> 4, 5
        let edges = [(0, 1), (1, 2), (2, 0), (3, 0), (4, 4)];
        let find = |start| cycle(6, start, &|a, b| edges.contains(&(a, b))).map(|path| path.to_vec());
        assert_eq!(find(0), Some(vec![0, 1, 2]));
        assert_eq!(find(2), Some(vec![2, 0, 1]));
        assert_eq!(find(4), Some(vec![4]));
        assert_eq!((find(3), find(5)), (None, None));
    }

    #[test]
    fn the_shortest_cycle_is_named_and_full_tables_fit() {
        let edges = [(0, 1), (1, 2), (2, 0), (1, 0)];
        assert_eq!(cycle(3, 0, &|a, b| edges.contains(&(a, b))).map(|path| path.to_vec()), Some(vec![0, 1]));
        let ring = cycle(MAX_PODS, 0, &|a, b| (a + 1) % MAX_PODS == b);
        assert_eq!(ring.map(|path| path.len()), Some(MAX_PODS));
        assert_eq!(cycle(MAX_PODS, 0, &|a, b| a < b), None);
    }
}
