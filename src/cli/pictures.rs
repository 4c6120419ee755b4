//! Shared by the commands that show images: which images are selected, and where pictures are written.

use std::path::{Path, PathBuf};

use super::common::{Loaded, Opened};
use crate::data::{Dataset, Filler, Images, Labels, Part, Span, Split, write_npy_f32, write_png};
use crate::error::{Error, Result};
use crate::evaluate::judged::{Judged, Subset, Which};
use crate::evaluate::measures::{self, Progress};
use crate::model::codec::Codes;
use crate::model::{Codec, Labelled};
use crate::report::Picture;
use crate::report::sheet::to_byte;
use crate::storage::atomic::{create_folder, refuse_existing, write_new};
use crate::storage::system::system;
use crate::tensor::ImageShape;
use crate::train::DataOptions;

/// Images with their labels and files.
struct Group {
    images: Images,
    labels: Option<Labels>,
    files: Vec<PathBuf>,
}

impl Group {
    fn train(data: Dataset) -> Self {
        Self::both(data).0
    }

    fn test(data: Dataset) -> Self {
        Self::both(data).1
    }

    /// The training images and the test images; empty if there are none.
    fn both(data: Dataset) -> (Self, Self) {
        let shape = data.train.shape();
        let test = data.test.unwrap_or_else(|| Images::empty(shape.height, shape.width, shape.channels));
        let train = Self { images: data.train, labels: data.labels, files: data.files };
        (train, Self { images: test, labels: data.test_labels, files: data.test_files })
    }
}

/// The selected images of a command.
pub(super) struct Shown {
    images: Images,
    /// The files of `images`, if each has one.
    files: Vec<PathBuf>,
    /// The part that each of `images` belongs to: those of `held_out` (sorted) were held out, the others are
    /// of this one, if it is known.
    subset: Option<Subset>,
    held_out: Vec<usize>,
    /// The selected ones of the images.
    pub indices: Vec<usize>,
    /// The label of each of `images` in the model's numbers; empty for a model without labels.
    numbers: Vec<u32>,
    /// The classes of all selected images, in the order of `indices`.
    pub labels: Option<Labels>,
    /// Their description: "test images".
    pub what: &'static str,
    /// How the network gets them: binarized with the run's seed.
    pub filler: Filler,
}

impl Shown {
    /// The data set's test images; if there are none, those that the run held out; else all. A conditional
    /// model takes them with their own labels, or all with `label`.
    pub(super) fn new(opened: &Opened, options: &DataOptions, label: Option<&str>) -> Result<Self> {
        let Loaded { data, split } = opened.images(options, Part::Test)?;
        // Data that are named are shown as a whole, even if they are the run's own.
        let run = split.filter(|_| options.data.is_none());
        let Judged { which, indices, .. } = Judged::choose(&data, run)?;
        let (group, what) = match which {
            Which::Test => (Group::test(data), "test images"),
            Which::Validation => (Group::train(data), "validation images"),
            Which::All => (Group::train(data), "images"),
        };
        Self::of(opened, options, label, (group, indices, what))
    }

    /// The requested parts of the data: the training images, and the test images last.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if there is no such part.
    pub(super) fn parts(
        opened: &Opened,
        options: &DataOptions,
        label: Option<&str>,
        wanted: Subset,
    ) -> Result<Vec<Self>> {
        let part = match wanted {
            Subset::Train | Subset::Valid => Part::Train,
            Subset::Test => Part::Test,
            Subset::All => Part::Both,
        };
        let Loaded { data, split } = opened.images(options, part)?;
        // Data of another run may have a validation part.
        let split = split
            .and_then(|split| split.of(&data))
            .or_else(|| data.validation.as_ref().and_then(|_| Split::of(&data, 0, None).ok()));
        let none = |what: &str| {
            Err(Error::config(format!(
                "--split {wanted}: {} has no {what}; --split all selects every image",
                data.path.display()
            )))
        };
        let has_test = data.test.as_ref().is_some_and(|test| test.count > 0);
        let is_known = split.is_some() || has_test;
        let train: Vec<usize> = (0..data.train.count).collect();
        let Split { train, validation } = split.unwrap_or(Split { train, validation: Vec::new() });
        let mut parts = Vec::new();
        match wanted {
            Subset::Test if !has_test => return none("test images"),
            Subset::Valid if validation.is_empty() => return none("images that are known to be held out"),
            Subset::Train if train.is_empty() => return none("training images"),
            Subset::Test => parts.push((Group::test(data), None, "test images")),
            Subset::Train => parts.push((Group::train(data), Some(train), "training images")),
            Subset::Valid => parts.push((Group::train(data), Some(validation.clone()), "validation images")),
            Subset::All => {
                let (train, test) = Group::both(data);
                parts.extend((train.images.count > 0).then_some((train, None, "images")));
                parts.extend(has_test.then_some((test, None, "test images")));
            }
        }
        parts
            .into_iter()
            .map(|(group, indices, what)| {
                let indices = indices.unwrap_or_else(|| (0..group.images.count).collect());
                let mut shown = Self::of(opened, options, label, (group, indices, what))?;
                if what == "test images" {
                    shown.subset = Some(Subset::Test);
                } else {
                    shown.subset = is_known.then_some(Subset::Train);
                    shown.held_out.clone_from(&validation);
                }
                Ok(shown)
            })
            .collect()
    }

    /// Images of a group, and their description.
    fn of(
        opened: &Opened,
        options: &DataOptions,
        label: Option<&str>,
        (group, indices, what): (Group, Vec<usize>, &'static str),
    ) -> Result<Self> {
        let config = opened.model.config();
        let given = label.map(|label| config.label(label)).transpose()?;
        let seed = opened.config.as_ref().map_or(0, |config| config.seed);
        let filler = Filler { span: config.span(), binarize: opened.binarize(options)?, seed };
        let Group { images, labels, files } = group;
        let numbers = match given {
            Some(label) => config.same_label(label, images.count),
            None => config.labelled(&images, labels.as_ref())?.labels.to_vec(),
        };
        let of_those = |labels: Labels| Labels {
            ids: indices.iter().map(|&at| labels.ids[at]).collect(),
            names: labels.names,
        };
        let (subset, held_out) = (None, Vec::new());
        let labels = labels.map(of_those);
        Ok(Self { images, files, subset, held_out, indices, numbers, labels, what, filler })
    }

    /// The known facts about the image at a position: its number, its file, the name of its class, and its
    /// part.
    pub(super) fn row(&self, position: usize) -> (usize, Option<&Path>, Option<&str>, Option<Subset>) {
        let index = self.indices[position];
        let file = self.files.get(index).map(PathBuf::as_path);
        let label = self.labels.as_ref().map(|l| l.names[l.ids[position] as usize].as_str());
        let is_held_out = self.held_out.binary_search(&index).is_ok();
        (index, file, label, if is_held_out { Some(Subset::Valid) } else { self.subset })
    }

    /// The bytes of all images of the data and the codes of some.
    pub(super) fn bytes(&self, opened: &Opened, codes: usize) -> u64 {
        self.images.memory() + (codes * 2 * 4 * opened.model.config().latent) as u64
    }

    /// Checks that `--max-memory` allows all images of the data and the codes of the selected ones.
    pub(super) fn room_for_codes(&self, opened: &Opened) -> Result<()> {
        let what = "the model, the images and their codes take";
        opened.room_for(self.bytes(opened, self.len()), what, "a smaller --count")
    }

    /// The number of selected images.
    pub(super) fn len(&self) -> usize {
        self.indices.len()
    }

    /// Keeps only the first images: as many as `--count` says, else `default`, else all. A note says so if
    /// there are fewer.
    pub(super) fn take(mut self, asked: Option<usize>, default: Option<usize>) -> Result<Self> {
        let count = asked.or(default);
        if count == Some(0) {
            return Err(Error::config("--count 0 leaves no images; it must be at least 1"));
        }
        if let Some(asked) = asked.filter(|&asked| asked > self.len()) {
            note!(
                "--count {asked} asks for more images than there are; all {} {} are used",
                self.len(),
                self.what
            );
        }
        self.truncate(count.unwrap_or(usize::MAX));
        Ok(self)
    }

    /// Keeps only the first images.
    pub(super) fn truncate(&mut self, count: usize) {
        self.indices.truncate(count);
        if let Some(labels) = &mut self.labels {
            labels.ids.truncate(count);
        }
    }

    /// All images of the data instead of the held-out ones, if there are fewer of these than `needed`. A note
    /// says so.
    pub(super) fn or_all(mut self, needed: usize) -> Self {
        if self.len() < needed && self.what == "validation images" && self.images.count >= needed {
            note!(
                "the run held out {} image, and {needed} are needed; images are numbered over all {} instead, training images \
                 included",
                self.len(),
                self.images.count
            );
            self.indices = (0..self.images.count).collect();
            // They are of the held-out images only.
            self.labels = None;
            self.what = "images";
        }
        self
    }

    /// Indices in the data of the images at some positions.
    ///
    /// # Errors
    /// If there is none at a position.
    pub(super) fn at(&self, positions: &[usize]) -> Result<Vec<usize>> {
        let find = |&position: &usize| {
            self.indices.get(position).copied().ok_or_else(|| {
                Error::config(format!(
                    "there is no image {position}; there are {} {}, counted from 0",
                    self.len(),
                    self.what
                ))
            })
        };
        positions.iter().map(find).collect()
    }

    /// μ and ln σ² of some images.
    pub(super) fn encode(&self, codec: &mut Codec<'_>, indices: &[usize]) -> Codes {
        codec.encode_with(Labelled { images: &self.images, labels: &self.numbers }, indices, &self.filler)
    }

    /// [`encode`](Self::encode) with progress.
    pub(super) fn encode_watched(
        &self,
        codec: &mut Codec<'_>,
        indices: &[usize],
        progress: Progress<'_>,
    ) -> Codes {
        let images = Labelled { images: &self.images, labels: &self.numbers };
        measures::encode(codec, images, indices, &self.filler, progress)
    }

    /// The labels of some images in the model's numbers; none for a model without labels.
    pub(super) fn numbers(&self, indices: &[usize]) -> Vec<u32> {
        Labelled { images: &self.images, labels: &self.numbers }.of(indices).collect()
    }

    /// Some images with values in [0, 1], not binarized.
    pub(super) fn grey(&self, indices: &[usize]) -> Vec<f32> {
        pictures(&self.images, indices, &Filler { binarize: None, ..self.filler })
    }

    /// Some images with values in [0, 1], as the network gets them.
    pub(super) fn pictures(&self, indices: &[usize]) -> Vec<f32> {
        pictures(&self.images, indices, &self.filler)
    }
}

/// Images with values in [0, 1], binarized as the filler says.
pub(super) fn pictures(images: &Images, indices: &[usize], filler: &Filler) -> Vec<f32> {
    let mut values = vec![0.0; indices.len() * images.image_len()];
    Filler { span: Span::Unit, ..*filler }.fill(images, indices, 0, &mut values);
    values
}

/// Where pictures are written, by the given name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// A sheet.
    Png(PathBuf),
    /// All numbers, count × H × W × C in [0, 1].
    Npy(PathBuf),
    /// A PNG for each.
    Folder(PathBuf),
}

impl Output {
    /// The output of that name, which must not exist yet.
    ///
    /// # Errors
    /// If it exists, or the name has an ending other than .png or .npy.
    pub(super) fn new(path: &Path) -> Result<Self> {
        refuse_existing(path)?;
        let path = path.to_path_buf();
        match path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase).as_deref() {
            Some("png") => Ok(Self::Png(path)),
            Some("npy") => Ok(Self::Npy(path)),
            None => Ok(Self::Folder(path)),
            Some(ending) => Err(Error::config(format!(
                "--out {}: pictures are written as .png (one sheet), .npy (numbers) or into a folder (a name without an ending), \
                 not as .{}",
                path.display(),
                crate::storage::printable(ending)
            ))),
        }
    }

    /// Checks that `--max-memory` allows `pictures` of the model's size, held as numbers `copies` times, and
    /// drawn if the output is a sheet. `beside` bytes are already in use; `help` says how to need fewer.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn room_for(
        &self,
        opened: &Opened,
        beside: u64,
        (pictures, copies): (usize, usize),
        help: &str,
    ) -> Result<()> {
        opened.room_for_pictures(beside, (pictures, copies), matches!(self, Self::Png(_)), help)
    }

    /// Writes pictures with values in [0, 1], in rows of `columns` on a sheet, and says so.
    pub(super) fn write(&self, values: &[f32], image: ImageShape, columns: usize) -> Result<()> {
        let sheet = || Picture::sheet(values, image, columns);
        self.write_with(values, image, sheet)
    }

    /// [`write`](Self::write) with a sheet that shows more than the pictures themselves.
    pub(super) fn write_with(
        &self,
        values: &[f32],
        image: ImageShape,
        sheet: impl FnOnce() -> Picture,
    ) -> Result<()> {
        let ImageShape { height, width, channels } = image;
        let count = values.len() / image.len();
        match self {
            Self::Png(path) => {
                sheet().save_new(path)?;
                say!("wrote {}", path.display());
            }
            Self::Npy(path) => write_numbers(path, &[count, height, width, channels], values)?,
            Self::Folder(folder) => {
                create_folder(system(), folder)?;
                for (at, picture) in values.chunks_exact(image.len()).enumerate() {
                    // Channels without colours become separate grey pictures, one below the other.
                    let (bytes, height, channels) = if matches!(channels, 1 | 3 | 4) {
                        (picture.iter().map(|&v| to_byte(v)).collect::<Vec<_>>(), height, channels)
                    } else {
                        let planes = (0..channels).flat_map(|c| picture.iter().skip(c).step_by(channels));
                        (planes.map(|&v| to_byte(v)).collect(), height * channels, 1)
                    };
                    let path = folder.join(format!("{at:05}.png"));
                    write_new(system(), &path, |out| write_png(out, &bytes, height, width, channels))?;
                }
                say!("wrote {count} pictures into {}", folder.display());
            }
        }
        Ok(())
    }
}

/// An error if `path`, given by an option, already exists or has another ending than the file's kind: no
/// program opens a table in a file called .png. A name without an ending is fine.
///
/// # Errors
/// If so.
pub(super) fn refuse_other(option: &str, path: &Path, kind: &str) -> Result<()> {
    match path.extension() {
        Some(ending) if !ending.eq_ignore_ascii_case(kind) => Err(Error::config(format!(
            "{option} {}: the file is written as .{kind}, not as .{}",
            path.display(),
            crate::storage::printable(ending.to_string_lossy())
        ))),
        _ => refuse_existing(path),
    }
}

/// Writes an .npy file that must not exist yet, and says so.
pub(super) fn write_numbers(path: &Path, shape: &[usize], values: &[f32]) -> Result<()> {
    write_new(system(), path, |out| write_npy_f32(out, shape, values))?;
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    say!("wrote {} ({})", path.display(), shape.join("×"));
    Ok(())
}

/// Two numbers with a comma between them.
pub(super) fn parse_axes(text: &str) -> std::result::Result<(usize, usize), String> {
    let wrong = || "two dimensions are needed, like 0,1".to_owned();
    let (x, y) = text.split_once(',').ok_or_else(wrong)?;
    Ok((x.trim().parse().map_err(|_| wrong())?, y.trim().parse().map_err(|_| wrong())?))
}

/// Pictures of which each row has one of `rows` from each of `columns`: [first of all, second of all…].
pub(super) fn interleave(columns: &[&[f32]], len: usize) -> Vec<f32> {
    let rows = columns.first().map_or(0, |column| column.len() / len);
    (0..rows)
        .flat_map(|row| columns.iter().flat_map(move |column| &column[row * len..(row + 1) * len]))
        .copied()
        .collect()
}
