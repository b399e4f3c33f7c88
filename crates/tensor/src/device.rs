//! Devices by the names that users type: `cpu`, `cuda`, `cuda:1`, `vulkan`, `metal`, `rocm`.

use burn::tensor::Device;

/// Why a device name was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Not one of the names.
    #[error(
        "unknown device `{got}`; expected cpu, cuda, vulkan, metal or rocm, with `:N` behind a GPU for its number"
    )]
    Unknown {
        /// What was asked for.
        got: String,
    },
    /// A name of ours whose backend this binary was built without.
    #[error(
        "this binary was built without {name}; build it with `cargo build --release --features {name}`"
    )]
    NotBuilt {
        /// The device's name, which is the cargo feature's name too.
        name: &'static str,
    },
}

/// The device that `name` means.
///
/// # Errors
/// When the name is unknown or its backend is not part of this build.
pub fn parse(name: &str) -> Result<Device, DeviceError> {
    let unknown = || DeviceError::Unknown {
        got: name.to_owned(),
    };
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, index.parse::<usize>().map_err(|_| unknown())?),
        None => (name, 0),
    };
    match kind {
        "cpu" if index == 0 => Ok(Device::flex()),
        "cuda" => gpu::cuda(index),
        "rocm" => gpu::rocm(index),
        "vulkan" => gpu::vulkan(index),
        "metal" => gpu::metal(index),
        _ => Err(unknown()),
    }
}

mod gpu {
    use super::{Device, DeviceError};

    macro_rules! backend {
        ($name:ident, $feature:literal, $index:ident => $device:expr) => {
            #[cfg(feature = $feature)]
            pub(super) fn $name($index: usize) -> Result<Device, DeviceError> {
                Ok($device)
            }
            #[cfg(not(feature = $feature))]
            pub(super) fn $name(_index: usize) -> Result<Device, DeviceError> {
                Err(DeviceError::NotBuilt { name: $feature })
            }
        };
    }
    backend!(cuda, "cuda", index => Device::cuda(index));
    backend!(rocm, "rocm", index => Device::rocm(index));
    backend!(vulkan, "vulkan", index => Device::vulkan(burn::tensor::DeviceKind::DiscreteGpu(index)));
    backend!(metal, "metal", index => Device::metal(burn::tensor::DeviceKind::DiscreteGpu(index)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse("cpu").ok(), Some(Device::flex()));
        for wrong in ["cpu:1", "tpu", "cuda:x", ""] {
            assert!(
                matches!(parse(wrong), Err(DeviceError::Unknown { .. })),
                "{wrong}"
            );
        }
    }
}
