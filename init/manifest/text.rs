//! The document as it stands: Kubernetes' names and shape, nothing checked but types.

use mote::json::{List, Pairs, Str};
use mote::object;

object! {
    /// The document.
    pub struct PodText<'a> {
        api_version: Str<'a> = "apiVersion", kind: Str<'a> = "kind", metadata: Metadata<'a> = "metadata", spec: Option<Spec<'a>> = "spec",
    }
    /// `metadata`.
    pub struct Metadata<'a> { name: Str<'a> = "name", annotations: Pairs<'a, Str<'a>> = "annotations" }
    /// `spec`.
    pub struct Spec<'a> {
        host_network: bool = "hostNetwork",
        hostname: Option<Str<'a>> = "hostname",
        restart_policy: Option<Str<'a>> = "restartPolicy",
        grace_s: Option<i64> = "terminationGracePeriodSeconds",
        security: Security<'a> = "securityContext",
        containers: List<ContainerText<'a>> = "containers",
        resources: ResourcesText<'a> = "resources",
    }
    /// `spec.securityContext` and `spec.containers[].securityContext`.
    pub struct Security<'a> { seccomp: Option<SeccompText<'a>> = "seccompProfile" }
    /// `seccompProfile`.
    pub struct SeccompText<'a> { kind: Str<'a> = "type" }
    /// `spec.containers[]`.
    pub struct ContainerText<'a> {
        name: Str<'a> = "name",
        image: Str<'a> = "image",
        command: List<Str<'a>> = "command",
        args: List<Str<'a>> = "args",
        env: List<Env<'a>> = "env",
        working_dir: Option<Str<'a>> = "workingDir",
        security: Security<'a> = "securityContext",
        resources: ResourcesText<'a> = "resources",
        stdin: bool = "stdin",
        stdin_once: bool = "stdinOnce",
        ports: List<PortText<'a>> = "ports",
    }
    /// `spec.containers[].ports[]`.
    pub struct PortText<'a> {
        container: i64 = "containerPort",
        host: Option<i64> = "hostPort",
        host_ip: Option<Str<'a>> = "hostIP",
        protocol: Option<Str<'a>> = "protocol",
    }
    /// `spec.containers[].resources` and `spec.resources`.
    pub struct ResourcesText<'a> { limits: Pairs<'a, Str<'a>> = "limits" }
    /// `spec.containers[].env[]`.
    pub struct Env<'a> { name: Str<'a> = "name", value: Str<'a> = "value" }
}
