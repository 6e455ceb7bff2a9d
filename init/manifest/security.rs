//! `securityContext` of pods and containers: who a program runs as, and what it may do.

use mote::error::{Error, Result};
use mote::json::Str;
use mote::plan::sysctl;
use mote::seccomp::Wish;
use mote::tables::CAPABILITIES;
use nix::sched::CloneFlags;

use super::text::{PodSecurity, ProfileText, Security as SecurityText};

/// The highest user or group that Kubernetes takes.
const ID_MAX: u32 = 0x7fff_ffff;

/// What a container may do. What is `None` stays as the bundle has it.
#[derive(Debug, Default)]
pub struct Security {
    /// `runAsUser`
    pub user: Option<u32>,
    /// `runAsGroup`
    pub group: Option<u32>,
    /// Whether a program that would run as root is refused.
    pub non_root: bool,
    /// What `capabilities` says.
    pub capabilities: Capabilities,
    /// Everything that can be had.
    pub privileged: bool,
    /// Whether `execve` may gain privileges.
    pub escalation: Option<bool>,
    /// Whether the root filesystem is read-only.
    pub read_only_root: Option<bool>,
    /// Whether all of `/proc` shows.
    pub unmasked: bool,
    /// The AppArmor profile, or `unconfined`.
    pub apparmor: Option<String>,
    /// Which system calls it may make.
    pub seccomp: Option<Profile>,
}

/// A change of capability sets.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What to begin with: all or none instead of the bundle's.
    pub base: Option<u64>,
    /// A bit for each one that is added.
    pub add: u64,
    /// A bit for each one that is taken away in the end.
    pub drop: u64,
}

impl Capabilities {
    /// A set of the bundle after the change; `added` says whether capabilities are added to this one.
    pub fn apply(self, set: u64, added: bool) -> u64 {
        let base = match self.base {
            Some(base) if added || base == 0 => base,
            _ => set,
        };
        (base | if added { self.add } else { 0 }) & !self.drop
    }
}

/// `seccompProfile`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// One that mote has.
    Wish(Wish),
    /// A file below the directory of profiles.
    File(String),
}

/// What a pod's `securityContext` says of all its containers.
#[derive(Debug, Default)]
pub struct Shared {
    /// The group of volumes that the pod has for itself, and a supplementary group of everyone.
    pub fs_group: Option<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Whether the bundle's own supplementary groups are left out.
    pub strict_groups: bool,
    /// Kernel parameters.
    pub sysctls: Vec<(String, String)>,
}

/// Makes an error of a field, named below the `securityContext`, and the reason.
type Wrong<'w> = &'w dyn Fn(&str, &str) -> Error;

/// Checks what a pod says of all its containers. `host` has the namespaces that are the device's.
pub fn shared(text: &PodSecurity<'_>, host: CloneFlags, wrong: Wrong<'_>) -> Result<Shared> {
    id(text.fs_group, "fsGroup", wrong)?;
    for (i, group) in text.groups.iter().enumerate() {
        id(Some(*group), &format!("supplementalGroups[{i}]"), wrong)?;
    }
    // Volumes that mote makes are empty when they get their group, so there is nothing that would differ.
    word(text.change_policy, &["Always", "OnRootMismatch"], "fsGroupChangePolicy", wrong)?;
    let policy = word(text.groups_policy, &["Merge", "Strict"], "supplementalGroupsPolicy", wrong)?;
    let mut sysctls = Vec::with_capacity(text.sysctls.len());
    for (i, pair) in text.sysctls.iter().enumerate() {
        // A slash may stand for each dot, sysctl(8).
        let name = pair.name.decode().replace('/', ".");
        let why = match sysctl::namespace(&name) {
            _ if sysctls.iter().any(|(other, _)| *other == name) => "stands twice",
            None => "belongs to no namespace, so it would change the device: init.json has sysctls for that",
            Some(CloneFlags::CLONE_NEWUTS) => "in conflict with spec.hostname, which is for this",
            Some(kind) if host.contains(kind) => "the pod shares the device's namespace that this belongs to",
            Some(_) => {
                sysctls.push((name, pair.value.decode()));
                continue;
            }
        };
        return Err(wrong(&format!("sysctls[{i}].name"), why));
    }
    let groups = text.groups.to_vec();
    Ok(Shared { fs_group: text.fs_group, groups, strict_groups: policy == Some(1), sysctls })
}

/// Checks what a container says, on top of its pod's.
pub fn container(
    text: &SecurityText<'_>,
    pod: &PodSecurity<'_>,
    own: Wrong<'_>,
    pods: Wrong<'_>,
) -> Result<Security> {
    for (user, group, wrong) in [(pod.user, pod.group, pods), (text.user, text.group, own)] {
        id(user, "runAsUser", wrong)?;
        id(group, "runAsGroup", wrong)?;
    }
    let (user, non_root) = (text.user.or(pod.user), text.non_root.or(pod.non_root).unwrap_or(false));
    if non_root && user == Some(0) {
        let (wrong, of) = if text.user.is_some() { (own, "") } else { (pods, "the pod's ") };
        return Err(wrong("runAsUser", &format!("{of}0 is root, which runAsNonRoot forbids")));
    }
    let bits = |list: &[Str<'_>], field: &str| {
        let bit = |(i, name): (usize, &Str<'_>)| {
            capability(*name)
                .ok_or_else(|| own(&format!("capabilities.{field}[{i}]"), "not a capability that mote knows"))
        };
        list.iter().enumerate().map(bit).try_fold((false, 0), |(all, bits), bit| {
            Ok::<_, Error>(match bit? {
                u64::MAX => (true, bits),
                bit => (all, bits | bit),
            })
        })
    };
    let ((add_all, add), (drop_all, drop)) =
        (bits(&text.capabilities.add, "add")?, bits(&text.capabilities.drop, "drop")?);
    let base = if drop_all { Some(0) } else { add_all.then_some(u64::MAX) };
    let sys_admin = add_all || capability_bit("CAP_SYS_ADMIN").is_some_and(|bit| add & bit != 0);
    if text.escalation == Some(false) && (text.privileged || sys_admin) {
        return Err(own(
            "allowPrivilegeEscalation",
            "false is in conflict with privileged and with CAP_SYS_ADMIN",
        ));
    }
    let unmasked = word(text.proc_mount, &["Default", "Unmasked"], "procMount", own)? == Some(1);
    let either =
        |own_text: &Option<ProfileText<'_>>,
         pods_text: &Option<ProfileText<'_>>,
         check: &dyn Fn(&ProfileText<'_>, Wrong<'_>) -> Result<Profile>| match (own_text, pods_text) {
            (Some(profile), _) => check(profile, own).map(Some),
            (None, Some(profile)) => check(profile, pods).map(Some),
            (None, None) => Ok(None),
        };
    let apparmor = match either(&text.apparmor, &pod.apparmor, &apparmor)? {
        Some(Profile::File(name)) => Some(name),
        Some(Profile::Wish(_)) => Some("unconfined".to_owned()),
        None => None,
    };
    Ok(Security {
        user,
        group: text.group.or(pod.group),
        non_root,
        capabilities: Capabilities { base, add, drop },
        privileged: text.privileged,
        escalation: text.escalation,
        read_only_root: text.read_only_root,
        unmasked,
        apparmor,
        seccomp: either(&text.seccomp, &pod.seccomp, &seccomp)?,
    })
}

/// `seccompProfile`
fn seccomp(text: &ProfileText<'_>, wrong: Wrong<'_>) -> Result<Profile> {
    let kind =
        word(Some(text.kind), &["RuntimeDefault", "Unconfined", "Localhost"], "seccompProfile.type", wrong)?;
    let path = text.localhost.map(Str::decode);
    match (kind, path) {
        (None, _) => Err(wrong("seccompProfile.type", "missing")),
        (Some(0), None) => Ok(Profile::Wish(Wish::RuntimeDefault)),
        (Some(2), Some(path)) if is_below(&path) => Ok(Profile::File(path)),
        (Some(2), _) => {
            Err(wrong("seccompProfile.localhostProfile", "expected a path below the directory of profiles"))
        }
        (_, Some(_)) => Err(wrong("seccompProfile.localhostProfile", "only for the type Localhost")),
        _ => Ok(Profile::Wish(Wish::Unconfined)),
    }
}

/// `appArmorProfile`: [`Profile::File`] has the profile's name.
fn apparmor(text: &ProfileText<'_>, wrong: Wrong<'_>) -> Result<Profile> {
    let kind = word(Some(text.kind), &["Unconfined", "Localhost"], "appArmorProfile.type", wrong)?;
    match (kind, text.localhost.map(Str::decode)) {
        (None, _) => Err(wrong("appArmorProfile.type", "missing")),
        (Some(0), None) => Ok(Profile::Wish(Wish::Unconfined)),
        (Some(1), Some(name)) if !name.is_empty() && !name.chars().any(char::is_control) => {
            Ok(Profile::File(name))
        }
        (Some(1), _) => {
            Err(wrong("appArmorProfile.localhostProfile", "expected the name of a profile that is loaded"))
        }
        _ => Err(wrong("appArmorProfile.localhostProfile", "only for the type Localhost")),
    }
}

/// Whether a path is relative and does not climb.
pub fn is_below(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with('/')
        && !path.contains('\0')
        && !path.split('/').any(|part| part == "..")
}

/// Which of `words` it is; `None` for none or an empty one, which both mean the default.
pub fn word(text: Option<Str<'_>>, words: &[&str], field: &str, wrong: Wrong<'_>) -> Result<Option<usize>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let found = words.iter().position(|word| text == *word);
    found.map(Some).ok_or_else(|| wrong(field, &format!("expected one of {}", words.join(", "))))
}

fn id(id: Option<u32>, field: &str, wrong: Wrong<'_>) -> Result<()> {
    match id {
        Some(ID_MAX..) if id != Some(ID_MAX) => {
            Err(wrong(field, "expected a whole number from 0 to 2147483647"))
        }
        _ => Ok(()),
    }
}

/// The bit of a capability, all bits for `ALL`. Kubernetes leaves the `CAP_` out.
fn capability(name: Str<'_>) -> Option<u64> {
    let name = name.decode().to_ascii_uppercase();
    if name == "ALL" {
        Some(u64::MAX)
    } else {
        capability_bit(&format!("CAP_{}", name.strip_prefix("CAP_").unwrap_or(&name)))
    }
}

fn capability_bit(name: &str) -> Option<u64> {
    CAPABILITIES.iter().find(|(known, _)| *known == name).map(|(_, number)| 1 << number)
}
