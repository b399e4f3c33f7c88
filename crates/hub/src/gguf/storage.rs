//! How the values of a tensor are stored: which ways there are, and from each to f32 and back.

use half::{bf16, f16};
use tensor::quantised::Format;

/// One way of storing values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Storage {
    /// 32-bit floats.
    F32,
    /// Half precision.
    F16,
    /// The upper half of 32-bit floats.
    Bf16,
    /// Few bits, in blocks.
    Blocks(Format),
}

impl Storage {
    /// All of them: GGUF's numbers for tensors and for whole files, and the name.
    const ALL: [(Self, u32, u32, &'static str); 11] = [
        (Self::F32, 0, 0, "f32"),
        (Self::F16, 1, 1, "f16"),
        (Self::Bf16, 30, 32, "bf16"),
        (Self::Blocks(Format::Q8_0), 8, 7, "q8_0"),
        (Self::Blocks(Format::Q4_0), 2, 2, "q4_0"),
        (Self::Blocks(Format::Q4_1), 3, 3, "q4_1"),
        (Self::Blocks(Format::Q5_0), 6, 8, "q5_0"),
        (Self::Blocks(Format::Q5_1), 7, 9, "q5_1"),
        (Self::Blocks(Format::Q4K), 12, 14, "q4_k"),
        (Self::Blocks(Format::Q5K), 13, 16, "q5_k"),
        (Self::Blocks(Format::Q6K), 14, 18, "q6_k"),
    ];

    fn row(self) -> (Self, u32, u32, &'static str) {
        let found = Self::ALL.into_iter().find(|row| row.0 == self);
        found.expect("all ways are listed")
    }

    /// The names, as [`Storage::named`] takes them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|row| row.3)
    }

    /// By its name, such as `q4_k`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|row| row.3 == name).map(|row| row.0)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().3
    }

    pub(crate) fn numbered(kind: u32) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|row| row.1 == kind).map(|row| row.0)
    }

    pub(crate) fn number(self) -> u32 {
        self.row().1
    }

    /// What GGUF calls a file whose matrices are stored so.
    pub(crate) fn file_number(self) -> u32 {
        self.row().2
    }

    /// Bytes of a row; `None` when it is no whole number of blocks.
    pub(crate) fn row_bytes(self, cols: usize) -> Option<usize> {
        match self {
            Self::F32 => Some(4 * cols),
            Self::F16 | Self::Bf16 => Some(2 * cols),
            Self::Blocks(format) => cols
                .is_multiple_of(format.weights())
                .then(|| cols / format.weights() * format.bytes()),
        }
    }

    /// To f32; exact for the floats.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let halves = |value: fn(u16) -> f32| {
            let pairs = bytes.as_chunks::<2>().0;
            let values = pairs.iter().map(|pair| value(u16::from_le_bytes(*pair)));
            values.collect()
        };
        match self {
            Self::F32 => bytemuck::pod_collect_to_vec(bytes),
            Self::F16 => halves(|bits| f16::from_bits(bits).to_f32()),
            Self::Bf16 => halves(|bits| bf16::from_bits(bits).to_f32()),
            Self::Blocks(format) => {
                let blocks = bytes.len() / format.bytes();
                let mut values = vec![0.0; blocks * format.weights()];
                kernels::quant::dequantize(format, bytes, &mut values);
                values
            }
        }
    }

    /// From f32, rounded to the nearest; whole blocks are wanted.
    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => bytemuck::cast_slice(values).to_vec(),
            Self::F16 => {
                let halves = values.iter().map(|v| f16::from_f32(*v).to_le_bytes());
                halves.flatten().collect()
            }
            Self::Bf16 => {
                let halves = values.iter().map(|v| bf16::from_f32(*v).to_le_bytes());
                halves.flatten().collect()
            }
            Self::Blocks(format) => {
                let mut blocks = vec![0; values.len() / format.weights() * format.bytes()];
                kernels::quant::quantize(format, values, &mut blocks);
                blocks
            }
        }
    }

    /// Whether values of this magnitude can be stored: the scales of blocks are in half precision too.
    pub(crate) fn reaches(self, magnitude: f32) -> bool {
        match self {
            Self::F32 | Self::Bf16 => magnitude.is_finite(),
            Self::F16 | Self::Blocks(_) => magnitude <= 65_504.0,
        }
    }
}
