//! Compression of images into the bytes of a file, and decompression.

use super::blocks::{BitsBack, NoImages, side_by_side};
use super::container::{self, Container, Header};
use super::extra::{Extra, check_names};
use super::{lossy, normal};
use crate::data::{Images, Labels, Pixels, Range as Values};
use crate::error::{Error, Result};
use crate::kernels::simd::Level;
use crate::loss::Likelihood;
use crate::model::Vae;
use crate::model::codec::check_size;
use crate::model::file::{description, to_tensors};
use crate::storage::tensor_file::TensorFile;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The arithmetic of this processor: under another one the model's numbers have other bits.
fn guarantee() -> &'static str {
    match Level::found() {
        Level::Portable => "f32, multiply and add rounded apart",
        Level::Fused | Level::Avx512 => "f32, fused multiply-add",
    }
}

/// How images are compressed.
#[derive(Clone, Debug, PartialEq)]
pub struct CompressOptions {
    /// k: a latent dimension is divided into 2ᵏ buckets of equal prior mass, from 4 to 16. More buckets
    /// follow a narrow posterior more closely, and cost k·Z bits for each block.
    pub latent_bits: u32,
    /// Images in a block; if left out, a 24th of all, at least 128 and at most 512. A block is decoded as a
    /// whole, its first image costs about k·Z bits more than the others, and blocks are processed in
    /// parallel.
    pub block: Option<usize>,
    /// Include the model in the file.
    pub with_model: bool,
    /// Store codes, rounded to multiples of this step, instead of the exact images.
    pub lossy: Option<f64>,
    /// With `lossy`: the steps of gradient descent on the code of each image ([`Vae::refine`]), at most 10,000.
    pub refine: usize,
}

impl Default for CompressOptions {
    fn default() -> Self {
        Self { latent_bits: 12, block: None, with_model: false, lossy: None, refine: 0 }
    }
}

/// The input of compression.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The images: bytes from 0 to 255.
    pub images: &'a Images,
    /// A name for each, as a relative path with `/`; empty if they have none.
    pub names: &'a [String],
    /// Their labels, if these are to be stored. A model with labels needs them.
    pub labels: Option<&'a Labels>,
}

/// The result of decompression.
#[derive(Clone, Debug, PartialEq)]
pub struct Decompressed {
    /// The number of the first image in the file.
    pub first: usize,
    /// The images, one after the other; missing ones are black.
    pub images: Images,
    /// Their names, if they have any.
    pub names: Vec<String>,
    /// Their labels, if they have any.
    pub labels: Option<Labels>,
    /// Images that could not be decoded, by their index in the file, each with the reason; only with
    /// `salvage`.
    pub missing: Vec<(Range<usize>, String)>,
}

/// What to decompress.
#[derive(Clone, Debug, PartialEq)]
pub struct DecompressOptions {
    /// The requested images; all if left out.
    pub images: Option<Range<usize>>,
    /// Decode the undamaged blocks instead of refusing.
    pub salvage: bool,
    /// Bytes that the images may take.
    pub max_memory: u64,
}

impl Default for DecompressOptions {
    fn default() -> Self {
        Self { images: None, salvage: false, max_memory: 8 << 30 }
    }
}

/// The bytes of a model's file.
fn model_file(model: &Vae<f32>) -> Result<Vec<u8>> {
    let tensors = to_tensors(&model.architecture().table, &model.parameters, "");
    TensorFile { description: description("model", model.config()), tensors }.encode(Path::new("the model"))
}

/// The checksum of a model's file, as its header has it: eight hexadecimal digits.
fn checksum_of(model_file: &[u8]) -> u32 {
    TensorFile::checksum_in(model_file).expect("the file was just made")
}

/// Whether a model can compress.
///
/// # Errors
/// If its likelihood does not assign probabilities to bytes.
pub fn check_model(model: &Vae<f32>) -> Result<()> {
    let likelihood = model.config().likelihood;
    if likelihood.is_exact_for_bytes() {
        return Ok(());
    }
    let exact: Vec<&str> =
        Likelihood::ALL.iter().filter(|l| l.is_exact_for_bytes()).map(Likelihood::name).collect();
    Err(Error::config(format!(
        "the model was trained with the likelihood {likelihood}, which does not assign probabilities to bytes; lossless compression needs one that \
         was trained with --likelihood {}",
        exact.join(", ")
    )))
}

/// The bytes of memory that [`compress`] needs besides the images and the model's own use ([`Vae::memory`]),
/// and for then decompressing everything to `verify` it. The compressed images are assumed to be no larger
/// than the images.
pub fn memory(model: &Vae<f32>, images: &Images, options: &CompressOptions, verify: bool) -> u64 {
    let (model_file, pixels) = (4 * model.parameters.len(), images.count * images.image_len());
    // Blocks and the file that they are put into; or the file, blocks of images, and all images.
    let files = if verify { 3 * pixels } else { 2 * pixels };
    let models = if options.with_model { 2 * model_file } else { model_file };
    let codes = 4 * images.count * model.config().latent;
    let probe = 4 * model.activations_len(side_by_side(model, images.count));
    let lossy = if options.lossy.is_some() { codes + probe } else { 0 };
    let refine = if options.refine > 0 { model.refine_memory() } else { 0 };
    (files + models + lossy) as u64 + refine
}

/// The bytes of images from 0 to 255.
fn bytes_of(images: &Images) -> Result<&[u8]> {
    match &images.pixels {
        Pixels::U8(bytes) if images.range == Values::BYTES => Ok(bytes),
        Pixels::U8(_) => Err(Error::config(format!(
            "the images have values from {} to {}, and compression needs bytes with 256 levels from 0 to 255",
            images.range.low, images.range.high
        ))),
        Pixels::File(_) => Err(Error::config(
            "the images are in a cache file, and compression needs them in memory; a larger --max-memory holds them there",
        )),
        Pixels::F32(_) => Err(Error::config(
            "the images are floating-point numbers, and compression needs bytes with 256 levels from 0 to 255",
        )),
    }
}

/// The model's label of each image, empty for a model without labels: labels are matched by their names.
fn conditions(model: &Vae<f32>, labels: Option<&Labels>) -> Result<Vec<u32>> {
    let known = &model.config().labels;
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let Some(labels) = labels else {
        return Err(Error::config("the model was trained with labels, and the images have none"));
    };
    let find = |&id: &u32| {
        let name = &labels.names[id as usize];
        known.iter().position(|other| other == name).map(|at| at as u32).ok_or_else(|| {
            Error::config(format!("the model does not know the label {}", crate::text::printable(name)))
        })
    };
    labels.ids.iter().map(find).collect()
}

/// Compresses images with a model, into the bytes of a file. `progress` is repeatedly called with the number
/// of images done.
///
/// # Errors
/// If the images are not bytes of the model's size, the model does not assign probabilities to bytes, or
/// names cannot be files of one folder.
pub fn compress(
    model: &Vae<f32>,
    contents: &Contents<'_>,
    options: &CompressOptions,
    progress: &dyn Fn(usize),
) -> Result<Vec<u8>> {
    let Contents { images, names, labels } = *contents;
    if options.lossy.is_none() {
        check_model(model)?;
    }
    lossy::check_options(options.lossy, options.refine)?;
    check_size(model, images)?;
    let bytes = bytes_of(images)?;
    check_names(names, Path::new("the images"))?;
    if !normal::LATENT_BITS.contains(&options.latent_bits) {
        let (low, high) = (normal::LATENT_BITS.start(), normal::LATENT_BITS.end());
        return Err(Error::config(format!(
            "a latent dimension cannot have {} bits; it must be from {low} to {high}",
            options.latent_bits
        )));
    }
    if options.block == Some(0) {
        return Err(Error::config("a block of 0 images; it must have at least 1"));
    }
    // A block's length is a u32: 2³⁰ values of 24 bits fit, whatever they are.
    let block = options
        .block
        .unwrap_or((images.count / 24).clamp(128, 512))
        .min(images.count)
        .clamp(1, ((1 << 30) / images.image_len()).max(1));
    let with_labels = labels.cloned();
    let extra = Extra {
        names: names.to_vec(),
        classes: with_labels.as_ref().map(|labels| labels.names.clone()).unwrap_or_default(),
        labels: with_labels.map(|labels| labels.ids).unwrap_or_default(),
    };
    let labels = conditions(model, labels)?;
    let (extra, extra_length) = extra.write();
    let whole_model = model_file(model)?;
    let checksum = checksum_of(&whole_model);
    let model_section = if options.with_model { whole_model } else { Vec::new() };
    let mut header = Header {
        images: images.count as u64,
        block: block as u32,
        latent_bits: options.latent_bits,
        guarantee: guarantee().into(),
        probe: 0,
        checksum,
        model: model.config().clone(),
        model_bytes: model_section.len() as u64,
        model_crc: crc32fast::hash(&model_section),
        extra_bytes: extra.len() as u64,
        extra_crc: crc32fast::hash(&extra),
        extra_length: extra_length as u64,
        lossy: None,
    };
    let ranges = header.ranges();
    let mut bits_back = BitsBack::new(model, options.latent_bits, side_by_side(model, ranges.len()));
    header.probe = bits_back.probe();
    let size = images.image_len();
    let (blocks, images_crc) = match options.lossy {
        None => {
            let blocks = bits_back.write(bytes, &labels, &ranges, progress);
            let crc = |range: &Range<usize>| crc32fast::hash(&bytes[range.start * size..range.end * size]);
            (blocks, ranges.iter().map(crc).collect::<Vec<u32>>())
        }
        Some(step) => {
            let written = lossy::write(model, bytes, &labels, &ranges, (step, options.refine), progress);
            header.lossy = Some(written.header);
            (written.blocks, written.images_crc)
        }
    };
    Ok(container::write(&header, &model_section, &extra, &blocks, &images_crc))
}

/// A compressed file in memory.
#[derive(Clone, Debug)]
pub struct Compressed {
    bytes: Vec<u8>,
    path: PathBuf,
}

impl Compressed {
    /// Reads a file of at most `max_memory` bytes.
    ///
    /// # Errors
    /// If the system refuses, or the file is too large.
    pub fn open(path: impl AsRef<Path>, max_memory: u64) -> Result<Self> {
        let path = path.as_ref();
        let meta = path.metadata().map_err(|error| Error::io("open", path, error))?;
        if !meta.is_file() {
            return Err(Error::data(path, "is not a file; a file of `elbo compress` is needed"));
        }
        if meta.len() > max_memory {
            return Err(Error::data(path, too_much("it takes", meta.len(), max_memory)));
        }
        let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        Ok(Self::from_bytes(bytes, path))
    }

    /// A file's bytes; `path` is for messages.
    pub fn from_bytes(bytes: Vec<u8>, path: impl AsRef<Path>) -> Self {
        Self { bytes, path: path.as_ref().to_path_buf() }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of its images.
    ///
    /// # Errors
    /// If its header is damaged.
    pub fn count(&self) -> Result<u64> {
        Ok(container::read(&self.bytes, true, &self.path)?.header.images)
    }

    /// The model inside, if there is one.
    ///
    /// # Errors
    /// If it or the file's header is damaged.
    pub fn model(&self) -> Result<Option<Vae<f32>>> {
        let container = container::read(&self.bytes, true, &self.path)?;
        let Header { model_bytes, model_crc, .. } = container.header;
        if model_bytes == 0 {
            return Ok(None);
        }
        if container.model.len() as u64 != model_bytes || crc32fast::hash(container.model) != model_crc {
            return Err(Error::data(&self.path, "the model in it is damaged; --model names another copy"));
        }
        Vae::from_file(TensorFile::decode(container.model, &self.path)?, &self.path).map(Some)
    }

    /// Decodes images with the model that compressed them.
    ///
    /// # Errors
    /// If it is another model, the file is damaged (with `salvage`: its header or index), it was written with
    /// another arithmetic, or there are no such images.
    pub fn decompress(
        &self,
        model: &Vae<f32>,
        options: &DecompressOptions,
        progress: &dyn Fn(usize),
    ) -> Result<Decompressed> {
        let path = &*self.path;
        let bad = |message: String| Error::data(path, message);
        let container = container::read(&self.bytes, options.salvage, path)?;
        let header = &container.header;
        let checksum = checksum_of(&model_file(model)?);
        if header.checksum != checksum || header.model != *model.config() {
            return Err(bad(format!(
                "it was made with the model of checksum {:08x}, and this model has {checksum:08x}; --model takes the run folder or file of the \
                 one that made it",
                header.checksum
            )));
        }
        if header.guarantee != guarantee() {
            return Err(bad(format!(
                "it was written with the arithmetic \"{}\", and this processor has \"{}\"; use a processor like the one that wrote it",
                crate::text::printable(&header.guarantee),
                guarantee()
            )));
        }
        if header.lossy.is_none() {
            check_model(model)?;
        }
        if !normal::LATENT_BITS.contains(&header.latent_bits) {
            return Err(bad(format!(
                "its latent dimensions have {} bits: it is damaged",
                header.latent_bits
            )));
        }
        let count = usize::try_from(header.images).unwrap_or(usize::MAX);
        let wanted = options.images.clone().unwrap_or(0..count);
        if wanted.start >= wanted.end || wanted.end > count {
            return Err(Error::config(format!(
                "there are no images {}..{}: {} has {count}, counted from 0",
                wanted.start,
                wanted.end,
                path.display()
            )));
        }
        let size = model.config().pixels();
        // Whole blocks are read.
        let block = header.block as usize;
        let first_block = wanted.start / block;
        let last_block = wanted.end.div_ceil(block);
        let read = first_block * block..count.min(last_block.saturating_mul(block));
        let memory = (read.len() as u64).saturating_mul(2 * size as u64);
        if memory > options.max_memory {
            return Err(bad(too_much("its images take", memory, options.max_memory)));
        }
        if header.extra_length > options.max_memory {
            return Err(bad(too_much("its names and labels take", header.extra_length, options.max_memory)));
        }
        let mut missing = Vec::new();
        let extra = match read_extra(&container, count, path) {
            Err(error) if options.salvage => {
                missing.push((0..0, error.to_string()));
                Extra::default()
            }
            extra => extra?,
        };
        let all_labels = extra.labels();
        let labels = conditions(model, all_labels.as_ref())?;
        let ranges: Vec<Range<usize>> =
            (first_block..last_block).map(|at| at * block..count.min((at + 1) * block)).collect();
        let mut whole = Vec::new();
        for (at, range) in (first_block..last_block).zip(&ranges) {
            let (bytes, entry) = (container.blocks[at], container.index[at]);
            if bytes.len() == entry.bytes as usize && crc32fast::hash(bytes) == entry.crc {
                whole.push((at, range.clone()));
            } else if options.salvage {
                missing.push((range.clone(), "its bytes are damaged".into()));
            } else {
                return Err(bad(damaged(at, range, "its bytes do not have their checksum")));
            }
        }
        let mut bits_back = BitsBack::new(model, header.latent_bits, side_by_side(model, whole.len()));
        if bits_back.probe() != header.probe {
            return Err(bad(
                "its model gives other numbers here than on the computer that wrote it: on this processor or in this build arithmetic differs; use \
                 the program and a processor like those that wrote it"
                    .into(),
            ));
        }
        let inputs: Vec<(&[u8], usize, &[u32])> = whole
            .iter()
            .map(|(at, range)| {
                (container.blocks[*at], range.len(), labels.get(range.clone()).unwrap_or_default())
            })
            .collect();
        let decoded: Vec<std::result::Result<Vec<u8>, NoImages>> = match &header.lossy {
            None => bits_back.read(&inputs, progress),
            Some(lossy) => lossy::read(model, &inputs, lossy, path, progress)?,
        };
        let mut images = vec![0; wanted.len() * size];
        for ((at, range), decoded) in whole.iter().zip(decoded) {
            let good = decoded.ok().filter(|bytes| crc32fast::hash(bytes) == container.index[*at].images_crc);
            match good {
                Some(bytes) => {
                    let shared = range.start.max(wanted.start)..range.end.min(wanted.end);
                    let from = &bytes[(shared.start - range.start) * size..(shared.end - range.start) * size];
                    let to = shared.start - wanted.start..shared.end - wanted.start;
                    images[to.start * size..to.end * size].copy_from_slice(from);
                }
                None if options.salvage => {
                    missing.push((range.clone(), "its images do not have their checksum".into()));
                }
                None => return Err(bad(damaged(*at, range, "its images do not have their checksum"))),
            }
        }
        let image = model.config().image();
        let names = extra.names.get(wanted.clone()).unwrap_or_default().to_vec();
        let labels =
            all_labels.map(|labels| Labels { ids: labels.ids[wanted.clone()].to_vec(), names: labels.names });
        Ok(Decompressed {
            first: wanted.start,
            images: Images::from_bytes(images, wanted.len(), image.height, image.width, image.channels),
            names,
            labels,
            missing,
        })
    }
}

fn read_extra(container: &Container<'_>, count: usize, path: &Path) -> Result<Extra> {
    let header = &container.header;
    if container.extra.len() as u64 != header.extra_bytes
        || crc32fast::hash(container.extra) != header.extra_crc
    {
        return Err(Error::data(path, "its names and labels do not have their checksum: it is damaged"));
    }
    Extra::read(container.extra, header.extra_length, count, path)
}

fn damaged(at: usize, range: &Range<usize>, what: &str) -> String {
    format!(
        "block {at}, with the images {} to {}, is damaged: {what}; --salvage decodes the others",
        range.start,
        range.end - 1
    )
}

fn too_much(what: &str, bytes: u64, limit: u64) -> String {
    format!("{what} {bytes} bytes of memory, more than the {limit} that --max-memory allows")
}
