//! Tests of reading: every format, every message. The fixtures are the fuzz seeds, made by Python's standard
//! library.

mod arrays;
mod batches;
mod cached;
mod folders;
mod pictures;
mod refused;

use super::*;
use crate::Result;
use std::path::{Path, PathBuf};

/// A file of the seed corpus.
fn seed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name)
}

fn load_quietly(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Dataset> {
    load(path, options, &|_, _| ())
}

/// The message of an error.
#[track_caller]
fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.to_string(),
    }
}

/// The message for these bytes as a file `x`.
#[track_caller]
fn refused(bytes: &[u8], options: &LoadOptions) -> String {
    message(parse(bytes, Path::new("x"), options))
}

#[track_caller]
fn bytes(images: &Images) -> &[u8] {
    match &images.pixels {
        Pixels::U8(values) => values,
        _ => panic!("bytes were expected"),
    }
}

#[track_caller]
fn floats(images: &Images) -> &[f32] {
    match &images.pixels {
        Pixels::F32(values) => values,
        _ => panic!("floats were expected"),
    }
}

/// A .npy file.
fn npy_file(descr: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|n| format!("{n},")).collect();
    npy_with_header(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}"), values)
}

fn npy_with_header(text: &str, values: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(text.len() as u16).to_le_bytes());
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(values);
    file
}

/// An .npz file, deflated.
fn npz_file(members: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut file = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut file);
    for (name, data) in members {
        let builder = archive.new_file(name).compression_method(rawzip::CompressionMethod::DEFLATE);
        let (mut entry, config) = builder.start().unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
        let mut writer = config.wrap(encoder);
        writer.write_all(data).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    file
}

fn idx_file(kind: u8, shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, shape.len() as u8];
    shape.iter().for_each(|n| file.extend_from_slice(&n.to_be_bytes()));
    file.extend_from_slice(values);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
