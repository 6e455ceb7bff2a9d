//! `linux.resources.blockIO`

use super::{Build, Files, IO};
use crate::cgroup::{Or, Where};
use crate::plan::Checked;
use crate::spec;

/// The least and the greatest weight; 1000 is the greatest of BFQ as well.
const WEIGHT: std::ops::RangeInclusive<u16> = 10..=1000;

/// A weight of cgroup v1 in the terms of `io.weight`, which go from 1 to 10000.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

impl Build<'_> {
    pub(super) fn block_io(&mut self, block: &spec::BlockIo) -> Checked<()> {
        let throttles: [(&str, &[spec::ThrottleDevice], Files, &str); 4] = [
            (
                "throttleReadBpsDevice",
                &block.throttle_read_bps_device,
                ("blkio.throttle.read_bps_device", "io.max"),
                "rbps",
            ),
            (
                "throttleWriteBpsDevice",
                &block.throttle_write_bps_device,
                ("blkio.throttle.write_bps_device", "io.max"),
                "wbps",
            ),
            (
                "throttleReadIOPSDevice",
                &block.throttle_read_iops_device,
                ("blkio.throttle.read_iops_device", "io.max"),
                "riops",
            ),
            (
                "throttleWriteIOPSDevice",
                &block.throttle_write_iops_device,
                ("blkio.throttle.write_iops_device", "io.max"),
                "wiops",
            ),
        ];
        let throttled = throttles.iter().any(|(_, devices, ..)| !devices.is_empty());
        if block.weight == 0 && block.leaf_weight == 0 && block.weight_device.is_empty() && !throttled {
            return Ok(());
        }
        let at = self.find("blockIO", IO)?;
        if block.weight != 0 {
            self.io_weight("blockIO.weight", at, None, block.weight)?;
        }
        if block.leaf_weight != 0 {
            self.leaf_weight("blockIO.leafWeight", at, None, block.leaf_weight)?;
        }
        for (i, entry) in block.weight_device.iter().enumerate() {
            let field = format!("blockIO.weightDevice[{i}]");
            let device = self.device(&field, entry.major, entry.minor)?;
            if entry.weight != 0 {
                self.io_weight(&format!("{field}.weight"), at, Some(&device), entry.weight)?;
            }
            if entry.leaf_weight != 0 {
                self.leaf_weight(&format!("{field}.leafWeight"), at, Some(&device), entry.leaf_weight)?;
            }
        }
        for (list, devices, files, key) in throttles {
            for (i, entry) in devices.iter().enumerate() {
                let field = format!("blockIO.{list}[{i}]");
                let device = self.device(&field, entry.major, entry.minor)?;
                let value = match (at, entry.rate) {
                    (Where::V1(_), rate) => format!("{device} {rate}"),
                    (Where::V2, 0) => format!("{device} {key}=max"),
                    (Where::V2, rate) => format!("{device} {key}={rate}"),
                };
                self.put(&field, at, files, value, Or::Fail)?;
            }
        }
        Ok(())
    }

    fn device(&self, field: &str, major: i64, minor: i64) -> Checked<String> {
        // The kernel's own range: 12 and 20 bits.
        if (0..1 << 12).contains(&major) && (0..1 << 20).contains(&minor) {
            return Ok(format!("{major}:{minor}"));
        }
        self.wrong(field, "expected the numbers of a block device, major up to 4095 and minor up to 1048575")
    }

    /// A weight, of one device or of all: the scheduler BFQ has a file of its own and comes first, as in runc and crun.
    fn io_weight(&mut self, field: &str, at: Where, device: Option<&str>, weight: u16) -> Checked<()> {
        if !WEIGHT.contains(&weight) {
            return self.wrong(field, "expected a weight from 10 to 1000");
        }
        let of = |weight: u64| device.map_or(weight.to_string(), |device| format!("{device} {weight}"));
        let plain = of(weight.into());
        match (at, device) {
            (Where::V2, _) => {
                self.put(field, at, ("", "io.bfq.weight"), plain, Or::Next)?;
                self.put(field, at, ("", "io.weight"), of(io_weight(weight)), Or::Fail)
            }
            (Where::V1(_), None) => {
                self.put(field, at, ("blkio.weight", ""), plain.clone(), Or::Next)?;
                self.put(field, at, ("blkio.bfq.weight", ""), plain, Or::Fail)
            }
            (Where::V1(_), Some(_)) => {
                self.put(field, at, ("blkio.weight_device", ""), plain.clone(), Or::Next)?;
                self.put(field, at, ("blkio.bfq.weight_device", ""), plain, Or::Fail)
            }
        }
    }

    fn leaf_weight(&mut self, field: &str, at: Where, device: Option<&str>, weight: u16) -> Checked<()> {
        if !WEIGHT.contains(&weight) {
            return self.wrong(field, "expected a weight from 10 to 1000");
        }
        match device {
            None => self.put(field, at, ("blkio.leaf_weight", ""), weight, Or::Fail),
            Some(device) => {
                self.put(field, at, ("blkio.leaf_weight_device", ""), format!("{device} {weight}"), Or::Fail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::io_weight;

    #[test]
    fn the_ends_of_one_scale_are_those_of_the_other() {
        assert_eq!([10, 500, 1000].map(io_weight), [1, 4950, 10000]);
    }
}
