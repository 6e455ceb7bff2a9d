//! The planner on whatever the parser lets pass.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mote::cgroup::Cgroups;
use mote::{json, plan, spec, strings};
use std::path::Path;

thread_local!(static CGROUPS: Cgroups = Cgroups::detect());

fuzz_target!(|data: &[u8]| {
    let Ok(spec) = json::parse::<spec::Spec<'_>>(data) else { return };
    let mut buffer = vec![0; strings::room_for(data.len())];
    let bundle = Path::new("/run/bundle");
    CGROUPS.with(|cgroups| {
        let made = plan::make(&spec, bundle, "fuzz", &plan::Overrides::default(), cgroups, &mut buffer);
        if let Err(wrong) = made {
            let (field, why) = *wrong;
            assert!(!field.is_empty() && !why.is_empty(), "{field}: {why}");
        }
    });
});
