//! Which fields of a Kubernetes Pod mote reads, which it may pass over, and which it must not: whoever wrote
//! `securityContext` counts on it, so a pod with a field that mote lacks is refused by the field's name.

use mote::error::Error;

use crate::fields;

/// What is done about a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// `text.rs` has it.
    Read,
    /// Passing it over is harmless; it is named in one warning.
    Pass,
    /// Passing it over would be unsafe unless it says no more than a missing field.
    Refuse,
    /// As `Refuse`, but this value is what a missing field means.
    Only(&'static str),
}

/// One field of one kind of object.
struct Known {
    object: Object,
    key: &'static str,
    rule: Rule,
}

/// The objects whose members are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Object {
    Pod,
    Metadata,
    Spec,
    Container,
    Env,
    Security,
    Seccomp,
    Resources,
}

const fn known(object: Object, key: &'static str, rule: Rule) -> Known {
    Known { object, key, rule }
}

use Object::{Container, Env, Metadata, Pod, Resources, Seccomp, Security, Spec};
use Rule::{Only, Pass, Read, Refuse};

/// Kubernetes API reference, Pod v1. A field that does not stand here is refused as unknown.
const KNOWN: &[Known] = &[
    known(Pod, "apiVersion", Read),
    known(Pod, "kind", Read),
    known(Pod, "metadata", Read),
    known(Pod, "spec", Read),
    known(Pod, "status", Pass),
    known(Metadata, "name", Read),
    known(Metadata, "annotations", Read),
    known(Metadata, "creationTimestamp", Pass),
    known(Metadata, "deletionGracePeriodSeconds", Pass),
    known(Metadata, "deletionTimestamp", Pass),
    known(Metadata, "finalizers", Pass),
    known(Metadata, "generateName", Pass),
    known(Metadata, "generation", Pass),
    known(Metadata, "labels", Pass),
    known(Metadata, "managedFields", Pass),
    known(Metadata, "namespace", Pass),
    known(Metadata, "ownerReferences", Pass),
    known(Metadata, "resourceVersion", Pass),
    known(Metadata, "selfLink", Pass),
    known(Metadata, "uid", Pass),
    known(Spec, "containers", Read),
    known(Spec, "hostNetwork", Read),
    known(Spec, "hostname", Read),
    known(Spec, "restartPolicy", Read),
    known(Spec, "terminationGracePeriodSeconds", Read),
    known(Spec, "activeDeadlineSeconds", Pass),
    known(Spec, "affinity", Pass),
    known(Spec, "automountServiceAccountToken", Pass),
    known(Spec, "dnsConfig", Pass),
    known(Spec, "dnsPolicy", Pass),
    known(Spec, "enableServiceLinks", Pass),
    known(Spec, "ephemeralContainers", Refuse),
    known(Spec, "hostAliases", Pass),
    known(Spec, "hostIPC", Refuse),
    known(Spec, "hostPID", Refuse),
    known(Spec, "hostUsers", Only("true")),
    known(Spec, "imagePullSecrets", Pass),
    known(Spec, "initContainers", Refuse),
    known(Spec, "nodeName", Pass),
    known(Spec, "nodeSelector", Pass),
    known(Spec, "os", Pass),
    known(Spec, "overhead", Pass),
    known(Spec, "preemptionPolicy", Pass),
    known(Spec, "priority", Pass),
    known(Spec, "priorityClassName", Pass),
    known(Spec, "readinessGates", Pass),
    known(Spec, "resourceClaims", Refuse),
    known(Spec, "resources", Read),
    known(Spec, "runtimeClassName", Refuse),
    known(Spec, "schedulerName", Pass),
    known(Spec, "schedulingGates", Pass),
    known(Spec, "securityContext", Read),
    known(Spec, "serviceAccount", Pass),
    known(Spec, "serviceAccountName", Pass),
    known(Spec, "setHostnameAsFQDN", Pass),
    known(Spec, "shareProcessNamespace", Refuse),
    known(Spec, "subdomain", Pass),
    known(Spec, "tolerations", Pass),
    known(Spec, "topologySpreadConstraints", Pass),
    known(Spec, "volumes", Refuse),
    known(Container, "args", Read),
    known(Container, "command", Read),
    known(Container, "env", Read),
    known(Container, "image", Read),
    known(Container, "name", Read),
    known(Container, "workingDir", Read),
    known(Container, "envFrom", Refuse),
    known(Container, "imagePullPolicy", Pass),
    known(Container, "lifecycle", Pass),
    known(Container, "livenessProbe", Pass),
    known(Container, "ports", Read),
    known(Container, "readinessProbe", Pass),
    known(Container, "resizePolicy", Pass),
    known(Container, "resources", Read),
    known(Container, "restartPolicy", Refuse),
    known(Container, "securityContext", Read),
    known(Container, "startupProbe", Pass),
    known(Container, "stdin", Read),
    known(Container, "stdinOnce", Read),
    known(Container, "terminationMessagePath", Pass),
    known(Container, "terminationMessagePolicy", Pass),
    known(Container, "tty", Pass),
    known(Container, "volumeDevices", Refuse),
    known(Container, "volumeMounts", Refuse),
    known(Env, "name", Read),
    known(Env, "value", Read),
    known(Env, "valueFrom", Refuse),
    known(Security, "seccompProfile", Read),
    known(Security, "allowPrivilegeEscalation", Refuse),
    known(Security, "appArmorProfile", Refuse),
    known(Security, "capabilities", Refuse),
    known(Security, "fsGroup", Refuse),
    known(Security, "fsGroupChangePolicy", Refuse),
    known(Security, "privileged", Refuse),
    known(Security, "procMount", Refuse),
    known(Security, "readOnlyRootFilesystem", Refuse),
    known(Security, "runAsGroup", Refuse),
    known(Security, "runAsNonRoot", Refuse),
    known(Security, "runAsUser", Refuse),
    known(Security, "seLinuxChangePolicy", Refuse),
    known(Security, "seLinuxOptions", Refuse),
    known(Security, "supplementalGroups", Refuse),
    known(Security, "supplementalGroupsPolicy", Refuse),
    known(Security, "sysctls", Refuse),
    known(Security, "windowsOptions", Refuse),
    known(Seccomp, "type", Read),
    known(Seccomp, "localhostProfile", Refuse),
    known(Resources, "limits", Read),
    known(Resources, "requests", Pass),
    known(Resources, "claims", Refuse),
];

/// Checks every field of the Pod `text`, which is JSON. Returns the fields that are passed over, `file` names it in an error.
pub fn check(file: &str, text: &str) -> Result<Vec<String>, Error> {
    let mut passed = Vec::new();
    let mut walk = |object, path: &str, text: &str| -> Result<(), Error> {
        for (key, value) in fields::members(text) {
            let dot = if path.is_empty() { "" } else { "." };
            let rule = KNOWN.iter().find(|known| known.object == object && known.key == key).map(|k| k.rule);
            let why = match rule {
                Some(Read) => continue,
                _ if fields::is_empty(value) && rule != Some(Only("true")) => continue,
                Some(Only(harmless)) if value == harmless || value == "null" => continue,
                Some(Pass) => {
                    passed.push(format!("{path}{dot}{key}"));
                    continue;
                }
                Some(Refuse | Only(_)) => "mote lacks this field, and the pod may rely on it",
                None => "not a field that mote knows",
            };
            return Err(Error::config(file, format!("{path}{dot}{key}"), why));
        }
        Ok(())
    };
    walk(Pod, "", text)?;
    walk(Metadata, "metadata", fields::member(text, "metadata").unwrap_or(""))?;
    let spec = fields::member(text, "spec").unwrap_or("");
    walk(Spec, "spec", spec)?;
    let walk_security =
        |walk: &mut dyn FnMut(Object, &str, &str) -> Result<(), Error>, path: &str, text: &str| {
            let security = fields::member(text, "securityContext").unwrap_or("");
            walk(Security, &format!("{path}.securityContext"), security)?;
            let seccomp = fields::member(security, "seccompProfile").unwrap_or("");
            walk(Seccomp, &format!("{path}.securityContext.seccompProfile"), seccomp)
        };
    walk_security(&mut walk, "spec", spec)?;
    walk(Resources, "spec.resources", fields::member(spec, "resources").unwrap_or(""))?;
    for (i, container) in fields::elements(fields::member(spec, "containers").unwrap_or("")).enumerate() {
        let path = format!("spec.containers[{i}]");
        walk(Container, &path, container)?;
        walk_security(&mut walk, &path, container)?;
        let resources = fields::member(container, "resources").unwrap_or("");
        walk(Resources, &format!("{path}.resources"), resources)?;
        for (k, env) in fields::elements(fields::member(container, "env").unwrap_or("")).enumerate() {
            walk(Env, &format!("{path}.env[{k}]"), env)?;
        }
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_stands_once() {
        for (i, a) in KNOWN.iter().enumerate() {
            assert!(!KNOWN[..i].iter().any(|b| (a.object, a.key) == (b.object, b.key)), "{}", a.key);
        }
    }

    #[test]
    fn a_field_that_changes_isolation_is_refused_by_name() {
        for (text, path) in [
            (r#"{"spec":{"hostPID":true}}"#, "spec.hostPID"),
            (r#"{"spec":{"hostUsers":false}}"#, "spec.hostUsers"),
            (r#"{"spec":{"volumes":[{"name":"a"}]}}"#, "spec.volumes"),
            (
                r#"{"spec":{"containers":[{},{"securityContext":{"privileged":true}}]}}"#,
                "spec.containers[1].securityContext.privileged",
            ),
            (
                r#"{"spec":{"containers":[{"env":[{"name":"a","valueFrom":{"x":1}}]}]}}"#,
                "spec.containers[0].env[0].valueFrom",
            ),
            (r#"{"spec":{"newField":1}}"#, "spec.newField"),
            (r#"{"spec":{"security\u0043ontext":{"x":1}}}"#, r"spec.security\u0043ontext"),
        ] {
            let Err(Error::Config(flaw)) = check("x.json", text) else { unreachable!("{text}") };
            assert_eq!(&*flaw.field, path);
        }
    }

    #[test]
    fn empty_and_harmless_fields_pass_and_the_latter_are_named() {
        let text = r#"{"status":{},"metadata":{"labels":{"a":"b"},"creationTimestamp":null},
            "spec":{"volumes":[],"securityContext":{},"hostPID":false,"hostUsers":true,"dnsPolicy":"Default",
            "containers":[{"resources":{},"ports":[{"containerPort":1883}]}]}}"#;
        let Ok(passed) = check("x.json", text) else { unreachable!() };
        assert_eq!(passed, ["metadata.labels", "spec.dnsPolicy"]);
    }
}
