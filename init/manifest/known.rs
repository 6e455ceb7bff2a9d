//! Which fields of a Kubernetes Pod mote reads, which it may pass over, and which it must not: whoever wrote
//! `securityContext` counts on it, so a pod with a field that mote lacks is refused by the field's name.

use mote::error::Error;

use crate::fields;

/// What is done about a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// `text.rs` has it.
    Read,
    /// The same; what is in it, or in each of its elements, is an object of this kind.
    In(Object),
    /// Passing it over is harmless; it is named in one warning.
    Pass,
    /// Passing it over would be unsafe unless it says no more than a missing field.
    Refuse,
    /// As `Refuse`, but this value is what a missing field means.
    Only(&'static str),
}

/// The objects whose members are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Object {
    Pod,
    Metadata,
    Spec,
    PodSecurity,
    Sysctl,
    HostAlias,
    DnsConfig,
    DnsOption,
    Volume,
    EmptyDir,
    HostPath,
    Container,
    Env,
    ValueFrom,
    FieldRef,
    ResourceRef,
    Security,
    Capabilities,
    Profile,
    Mount,
    Port,
    Probe,
    Lifecycle,
    Hook,
    Exec,
    Sleep,
    /// `httpGet` and `tcpSocket`
    Connect,
    Resources,
    Amounts,
}

use Object::{
    Amounts, Capabilities, Connect, Container, DnsConfig, DnsOption, EmptyDir, Env, Exec, FieldRef, Hook,
    HostAlias, HostPath, Lifecycle, Metadata, Mount, Pod, PodSecurity, Port, Probe, Profile, ResourceRef,
    Resources, Security, Sleep, Spec, Sysctl, ValueFrom, Volume,
};
use Rule::{In, Only, Pass, Read, Refuse};

/// Kubernetes API reference, Pod v1 of Kubernetes 1.34: the fields of each object by what is done about them. A field that
/// does not stand here is refused as unknown. Names have a blank between them: a list of texts takes 16 bytes more for each.
const KNOWN: &[(Object, Rule, &str)] = &[
    (Pod, Read, "apiVersion kind"),
    (Pod, In(Metadata), "metadata"),
    (Pod, In(Spec), "spec"),
    // What a cluster says of a pod.
    (Pod, Pass, "status"),
    (Metadata, Read, "name namespace labels annotations"),
    // The bookkeeping of an API server.
    (
        Metadata,
        Pass,
        "creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation \
         managedFields ownerReferences resourceVersion selfLink uid",
    ),
    (
        Spec,
        Read,
        "dnsPolicy hostIPC hostNetwork hostPID hostname restartPolicy shareProcessNamespace \
         terminationGracePeriodSeconds",
    ),
    (Spec, In(Container), "containers initContainers"),
    (Spec, In(DnsConfig), "dnsConfig"),
    (Spec, In(HostAlias), "hostAliases"),
    (Spec, In(PodSecurity), "securityContext"),
    (Spec, In(Resources), "resources"),
    (Spec, In(Volume), "volumes"),
    // Which node a pod comes to, and when: there is one.
    (
        Spec,
        Pass,
        "affinity nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates \
         schedulerName schedulingGates tolerations topologySpreadConstraints",
    ),
    // Services, registries and accounts of a cluster: there are none.
    (
        Spec,
        Pass,
        "automountServiceAccountToken enableServiceLinks imagePullSecrets serviceAccount serviceAccountName \
         setHostnameAsFQDN subdomain",
    ),
    (Spec, Pass, "activeDeadlineSeconds"),
    // Containers, isolation or devices that the pod would do without.
    (Spec, Refuse, "ephemeralContainers hostnameOverride resourceClaims runtimeClassName workloadRef"),
    (Spec, Only("true"), "hostUsers"),
    (
        PodSecurity,
        Read,
        "fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser supplementalGroups \
         supplementalGroupsPolicy",
    ),
    (PodSecurity, In(Profile), "appArmorProfile seccompProfile"),
    (PodSecurity, In(Sysctl), "sysctls"),
    (PodSecurity, Refuse, "seLinuxChangePolicy seLinuxOptions windowsOptions"),
    (Sysctl, Read, "name value"),
    (HostAlias, Read, "ip hostnames"),
    (DnsConfig, Read, "nameservers searches"),
    (DnsConfig, In(DnsOption), "options"),
    (DnsOption, Read, "name value"),
    (Volume, Read, "name"),
    (Volume, In(EmptyDir), "emptyDir"),
    (Volume, In(HostPath), "hostPath"),
    // What an API server, a storage driver or a registry would bring.
    (
        Volume,
        Refuse,
        "awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI ephemeral fc flexVolume \
         flocker gcePersistentDisk gitRepo glusterfs image iscsi nfs persistentVolumeClaim photonPersistentDisk \
         portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume",
    ),
    (EmptyDir, Read, "medium sizeLimit"),
    (HostPath, Read, "path type"),
    (
        Container,
        Read,
        "args command image name restartPolicy stdin stdinOnce terminationMessagePath terminationMessagePolicy \
         tty workingDir",
    ),
    (Container, In(Env), "env"),
    (Container, In(Mount), "volumeMounts"),
    (Container, In(Port), "ports"),
    (Container, In(Resources), "resources"),
    (Container, In(Security), "securityContext"),
    // Bundles are on the device already, and a manifest says all at once.
    (Container, Pass, "imagePullPolicy resizePolicy"),
    (Container, In(Probe), "livenessProbe readinessProbe startupProbe"),
    (Container, In(Lifecycle), "lifecycle"),
    (Container, Refuse, "envFrom restartPolicyRules volumeDevices"),
    // A name is for Services.
    (Port, Read, "containerPort hostIP hostPort name protocol"),
    (
        Probe,
        Read,
        "failureThreshold initialDelaySeconds periodSeconds successThreshold terminationGracePeriodSeconds \
         timeoutSeconds",
    ),
    (Probe, In(Exec), "exec"),
    (Probe, In(Connect), "httpGet tcpSocket"),
    (Probe, Refuse, "grpc"),
    (Lifecycle, In(Hook), "postStart preStop"),
    (Lifecycle, Refuse, "stopSignal"),
    (Hook, In(Exec), "exec"),
    (Hook, In(Connect), "httpGet"),
    (Hook, In(Sleep), "sleep"),
    (Hook, Refuse, "tcpSocket"),
    (Exec, Read, "command"),
    (Sleep, Read, "seconds"),
    (Connect, Read, "host httpHeaders path port scheme"),
    (Env, Read, "name value"),
    (Env, In(ValueFrom), "valueFrom"),
    (ValueFrom, In(FieldRef), "fieldRef"),
    (ValueFrom, In(ResourceRef), "resourceFieldRef"),
    (ValueFrom, Refuse, "configMapKeyRef fileKeyRef secretKeyRef"),
    (ResourceRef, Read, "containerName divisor resource"),
    (FieldRef, Read, "fieldPath"),
    (FieldRef, Only("\"v1\""), "apiVersion"),
    (
        Security,
        Read,
        "allowPrivilegeEscalation privileged procMount readOnlyRootFilesystem runAsGroup runAsNonRoot runAsUser",
    ),
    (Security, In(Capabilities), "capabilities"),
    (Security, In(Profile), "appArmorProfile seccompProfile"),
    (Security, Refuse, "seLinuxOptions windowsOptions"),
    (Capabilities, Read, "add drop"),
    (Profile, Read, "type localhostProfile"),
    (Mount, Read, "mountPath mountPropagation name readOnly recursiveReadOnly subPath subPathExpr"),
    (Resources, In(Amounts), "limits requests"),
    (Resources, Refuse, "claims"),
    (Amounts, Read, "cpu memory"),
    // Of what is written to layers and logs: logs have their bounds, and bundles no layer of their own.
    (Amounts, Pass, "ephemeral-storage"),
];

fn rule(object: Object, key: &str) -> Option<Rule> {
    let found = |keys: &str| keys.split(' ').any(|known| known == key);
    KNOWN.iter().find(|(of, _, keys)| *of == object && found(keys)).map(|(_, rule, _)| *rule)
}

/// Checks every field of the Pod `text`, which is JSON. Returns the fields that are passed over, `file` names it in an error.
pub fn check(file: &str, text: &str) -> Result<Vec<String>, Error> {
    let mut passed = Vec::new();
    walk(Pod, "", text, &mut passed).map_err(|(field, why)| Error::config(file, field, why)).map(|()| passed)
}

/// Checks the members of one object, which is at `path`. An error is a field and the reason. [`mote::json::parse`] bounds the
/// depth.
fn walk(
    object: Object,
    path: &str,
    text: &str,
    passed: &mut Vec<String>,
) -> Result<(), (String, &'static str)> {
    for (i, (key, value)) in fields::members(text).enumerate() {
        let dot = if path.is_empty() { "" } else { "." };
        let field = format!("{path}{dot}{key}");
        if fields::members(text).take(i).any(|(other, _)| other == key) {
            return Err((field, "stands twice"));
        }
        let why = match rule(object, key) {
            Some(Read) => continue,
            Some(In(object)) => {
                walk(object, &field, value, passed)?;
                for (i, element) in fields::elements(value).enumerate() {
                    walk(object, &format!("{field}[{i}]"), element, passed)?;
                }
                continue;
            }
            Some(Only(harmless)) if value == harmless || value == "null" => continue,
            Some(Pass | Refuse) if fields::is_empty(value) => continue,
            Some(Pass) => {
                passed.push(field);
                continue;
            }
            Some(Refuse | Only(_)) => "mote lacks this field, and the pod may rely on it",
            None if fields::is_empty(value) => continue,
            None => "not a field that mote knows",
        };
        return Err((field, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_stands_once() {
        let all: Vec<_> = KNOWN
            .iter()
            .flat_map(|(object, _, keys)| keys.split(' ').map(move |key| (*object, key)))
            .collect();
        for (i, a) in all.iter().enumerate() {
            assert!(!all[..i].contains(a), "{a:?}");
        }
    }

    /// The fields of Kubernetes' API by its own types, core/v1 of Kubernetes 1.34: written down from the reference and not from the
    /// table, so that neither can lose one unseen.
    const API: &[(Object, &str)] = &[
        (Pod, "apiVersion kind metadata spec status"),
        (
            Metadata,
            "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation \
             labels managedFields name namespace ownerReferences resourceVersion selfLink uid",
        ),
        (
            Spec,
            "volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds \
             activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName serviceAccount automountServiceAccountToken nodeName \
             hostNetwork hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname subdomain affinity \
             schedulerName tolerations hostAliases priorityClassName priority dnsConfig readinessGates runtimeClassName \
             enableServiceLinks preemptionPolicy overhead topologySpreadConstraints setHostnameAsFQDN os hostUsers \
             schedulingGates resourceClaims resources hostnameOverride",
        ),
        (
            PodSecurity,
            "seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot supplementalGroups supplementalGroupsPolicy fsGroup \
             sysctls fsGroupChangePolicy seccompProfile appArmorProfile seLinuxChangePolicy",
        ),
        (
            Container,
            "name image command args workingDir ports envFrom env resources resizePolicy restartPolicy restartPolicyRules \
             volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath \
             terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty",
        ),
        (
            Security,
            "capabilities privileged seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem \
             allowPrivilegeEscalation procMount seccompProfile appArmorProfile",
        ),
        (
            Volume,
            "name hostPath emptyDir gcePersistentDisk awsElasticBlockStore gitRepo secret nfs iscsi glusterfs \
             persistentVolumeClaim rbd flexVolume cinder cephfs flocker downwardAPI fc azureFile configMap vsphereVolume quobyte \
             azureDisk photonPersistentDisk projected portworxVolume scaleIO storageos csi ephemeral image",
        ),
        (EmptyDir, "medium sizeLimit"),
        (HostPath, "path type"),
        (Mount, "name readOnly recursiveReadOnly mountPath subPath mountPropagation subPathExpr"),
        (Env, "name value valueFrom"),
        (ValueFrom, "fieldRef resourceFieldRef configMapKeyRef secretKeyRef fileKeyRef"),
        (FieldRef, "apiVersion fieldPath"),
        (ResourceRef, "containerName resource divisor"),
        (Port, "name hostPort containerPort protocol hostIP"),
        (Resources, "limits requests claims"),
        (Capabilities, "add drop"),
        (Profile, "type localhostProfile"),
        (Sysctl, "name value"),
        (HostAlias, "ip hostnames"),
        (DnsConfig, "nameservers searches options"),
        (DnsOption, "name value"),
        (
            Probe,
            "exec httpGet tcpSocket grpc initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold \
             terminationGracePeriodSeconds",
        ),
        (Lifecycle, "postStart preStop stopSignal"),
        (Hook, "exec httpGet tcpSocket sleep"),
        (Exec, "command"),
        (Sleep, "seconds"),
        (Connect, "host port path scheme httpHeaders"),
    ];

    #[test]
    fn every_field_of_the_api_has_a_rule() {
        for (object, names) in API {
            for name in names.split_whitespace() {
                assert!(rule(*object, name).is_some(), "{object:?} {name}");
            }
        }
        // And the other way round: a rule for what is no field would let a slip pass.
        for (object, rule, keys) in KNOWN {
            let of = |(other, _): &&(Object, &str)| other == object;
            let Some((_, names)) = API.iter().find(of) else {
                assert_eq!(*object, Amounts, "{object:?} is missing above");
                continue;
            };
            for key in keys.split(' ') {
                let known = names.split_whitespace().any(|name| name == key);
                assert!(known || key == "workloadRef" && *rule == Refuse, "{object:?} {key}");
            }
        }
    }

    #[test]
    fn a_field_that_changes_isolation_is_refused_by_name() {
        for (text, path) in [
            (r#"{"spec":{"hostPID":true,"hostPID":false}}"#, "spec.hostPID"),
            (r#"{"spec":{"hostUsers":false}}"#, "spec.hostUsers"),
            (r#"{"spec":{"volumes":[{"name":"a","secret":{"secretName":"x"}}]}}"#, "spec.volumes[0].secret"),
            (
                r#"{"spec":{"containers":[{},{"securityContext":{"sysctls":[1]}}]}}"#,
                "spec.containers[1].securityContext.sysctls",
            ),
            (
                r#"{"spec":{"containers":[{"env":[{"name":"a","valueFrom":{"x":1}}]}]}}"#,
                "spec.containers[0].env[0].valueFrom.x",
            ),
            (r#"{"spec":{"newField":1}}"#, "spec.newField"),
            (r#"{"spec":{"security\u0043ontext":{"x":1}}}"#, r"spec.security\u0043ontext"),
        ] {
            let Err(error) = check("x.json", text) else { unreachable!("{text}") };
            assert_eq!(error.flaw().map(|flaw| &*flaw.field), Some(path));
        }
    }

    #[test]
    fn empty_and_harmless_fields_pass_and_the_latter_are_named() {
        let text = r#"{"status":{},"metadata":{"labels":{"a":"b"},"creationTimestamp":null},
            "spec":{"volumes":[],"securityContext":{},"hostPID":false,"hostUsers":true,"subdomain":"x",
            "containers":[{"resources":{},"ports":[{"containerPort":1883}]}]}}"#;
        let Ok(passed) = check("x.json", text) else { unreachable!() };
        assert_eq!(passed, ["spec.subdomain"]);
    }
}
