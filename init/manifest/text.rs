//! The document as it stands: Kubernetes' names and shape, nothing checked but types. Quantities are not here: they may be
//! strings or numbers, so they are read from the text; see `quantity`.

use mote::json::{List, Pairs, Str};
use mote::object;

use super::lifecycle::LifecycleText;
use super::probe::ProbeText;

object! {
    /// The document.
    pub struct PodText<'a> {
        api_version: Str<'a> = "apiVersion", kind: Str<'a> = "kind", metadata: Metadata<'a> = "metadata", spec: Option<Spec<'a>> = "spec",
    }
    /// `metadata`.
    pub struct Metadata<'a> {
        name: Str<'a> = "name",
        namespace: Option<Str<'a>> = "namespace",
        labels: Pairs<'a, Str<'a>> = "labels",
        annotations: Pairs<'a, Str<'a>> = "annotations",
    }
    /// `spec`.
    pub struct Spec<'a> {
        host_network: bool = "hostNetwork",
        host_pid: bool = "hostPID",
        host_ipc: bool = "hostIPC",
        share_pid: bool = "shareProcessNamespace",
        hostname: Option<Str<'a>> = "hostname",
        host_aliases: List<HostAlias<'a>> = "hostAliases",
        dns_policy: Option<Str<'a>> = "dnsPolicy",
        dns_config: Option<DnsConfig<'a>> = "dnsConfig",
        restart_policy: Option<Str<'a>> = "restartPolicy",
        grace_s: Option<i64> = "terminationGracePeriodSeconds",
        security: PodSecurity<'a> = "securityContext",
        volumes: List<VolumeText<'a>> = "volumes",
        init_containers: List<ContainerText<'a>> = "initContainers",
        containers: List<ContainerText<'a>> = "containers",
    }
    /// `spec.hostAliases[]`.
    pub struct HostAlias<'a> { ip: Str<'a> = "ip", hostnames: List<Str<'a>> = "hostnames" }
    /// `spec.dnsConfig`.
    pub struct DnsConfig<'a> {
        nameservers: List<Str<'a>> = "nameservers", searches: List<Str<'a>> = "searches", options: List<DnsOption<'a>> = "options",
    }
    /// `spec.dnsConfig.options[]`.
    pub struct DnsOption<'a> { name: Str<'a> = "name", value: Option<Str<'a>> = "value" }
    /// `spec.securityContext`.
    pub struct PodSecurity<'a> {
        seccomp: Option<ProfileText<'a>> = "seccompProfile",
        apparmor: Option<ProfileText<'a>> = "appArmorProfile",
        user: Option<u32> = "runAsUser",
        group: Option<u32> = "runAsGroup",
        non_root: Option<bool> = "runAsNonRoot",
        fs_group: Option<u32> = "fsGroup",
        change_policy: Option<Str<'a>> = "fsGroupChangePolicy",
        groups: List<u32> = "supplementalGroups",
        groups_policy: Option<Str<'a>> = "supplementalGroupsPolicy",
        sysctls: List<Sysctl<'a>> = "sysctls",
    }
    /// `spec.securityContext.sysctls[]`.
    pub struct Sysctl<'a> { name: Str<'a> = "name", value: Str<'a> = "value" }
    /// `spec.containers[].securityContext`.
    pub struct Security<'a> {
        seccomp: Option<ProfileText<'a>> = "seccompProfile",
        apparmor: Option<ProfileText<'a>> = "appArmorProfile",
        user: Option<u32> = "runAsUser",
        group: Option<u32> = "runAsGroup",
        non_root: Option<bool> = "runAsNonRoot",
        capabilities: Capabilities<'a> = "capabilities",
        privileged: bool = "privileged",
        escalation: Option<bool> = "allowPrivilegeEscalation",
        read_only_root: Option<bool> = "readOnlyRootFilesystem",
        proc_mount: Option<Str<'a>> = "procMount",
    }
    /// `securityContext.capabilities`.
    pub struct Capabilities<'a> { add: List<Str<'a>> = "add", drop: List<Str<'a>> = "drop" }
    /// `seccompProfile` and `appArmorProfile`.
    pub struct ProfileText<'a> { kind: Str<'a> = "type", localhost: Option<Str<'a>> = "localhostProfile" }
    /// `spec.volumes[]`.
    pub struct VolumeText<'a> {
        name: Str<'a> = "name", empty_dir: Option<EmptyDir<'a>> = "emptyDir", host_path: Option<HostPath<'a>> = "hostPath",
    }
    /// `spec.volumes[].emptyDir`.
    pub struct EmptyDir<'a> { medium: Option<Str<'a>> = "medium" }
    /// `spec.volumes[].hostPath`.
    pub struct HostPath<'a> { path: Str<'a> = "path", kind: Option<Str<'a>> = "type" }
    /// `spec.containers[]` and `spec.initContainers[]`.
    pub struct ContainerText<'a> {
        name: Str<'a> = "name",
        image: Str<'a> = "image",
        command: List<Str<'a>> = "command",
        args: List<Str<'a>> = "args",
        env: List<Env<'a>> = "env",
        working_dir: Option<Str<'a>> = "workingDir",
        security: Security<'a> = "securityContext",
        mounts: List<MountText<'a>> = "volumeMounts",
        stdin: bool = "stdin",
        stdin_once: bool = "stdinOnce",
        tty: bool = "tty",
        ports: List<PortText<'a>> = "ports",
        restart_policy: Option<Str<'a>> = "restartPolicy",
        startup: Option<ProbeText<'a>> = "startupProbe",
        readiness: Option<ProbeText<'a>> = "readinessProbe",
        liveness: Option<ProbeText<'a>> = "livenessProbe",
        lifecycle: Option<LifecycleText<'a>> = "lifecycle",
        message_path: Option<Str<'a>> = "terminationMessagePath",
        message_policy: Option<Str<'a>> = "terminationMessagePolicy",
    }
    /// `spec.containers[].ports[]`.
    pub struct PortText<'a> {
        name: Option<Str<'a>> = "name",
        container: i64 = "containerPort",
        host: Option<i64> = "hostPort",
        host_ip: Option<Str<'a>> = "hostIP",
        protocol: Option<Str<'a>> = "protocol",
    }
    /// `spec.containers[].volumeMounts[]`.
    pub struct MountText<'a> {
        name: Str<'a> = "name",
        path: Str<'a> = "mountPath",
        sub_path: Option<Str<'a>> = "subPath",
        sub_path_expr: Option<Str<'a>> = "subPathExpr",
        read_only: bool = "readOnly",
        recursive: Option<Str<'a>> = "recursiveReadOnly",
        propagation: Option<Str<'a>> = "mountPropagation",
    }
    /// `spec.containers[].env[]`.
    pub struct Env<'a> { name: Str<'a> = "name", value: Str<'a> = "value", from: Option<ValueFrom<'a>> = "valueFrom" }
    /// `spec.containers[].env[].valueFrom`.
    pub struct ValueFrom<'a> {
        field: Option<FieldRef<'a>> = "fieldRef", resource: Option<ResourceRef<'a>> = "resourceFieldRef",
    }
    /// `resourceFieldRef`
    pub struct ResourceRef<'a> { container: Option<Str<'a>> = "containerName", resource: Str<'a> = "resource" }
    /// `fieldRef`.
    pub struct FieldRef<'a> { path: Str<'a> = "fieldPath" }
}
