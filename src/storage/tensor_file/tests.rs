use super::*;
use crate::storage::faults::{Fault, FaultPlan, Faulty, Operation};
use crate::storage::filesystem::Disk;
use proptest::prelude::*;
use serde_json::json;

const PATH: &str = "model.safetensors";

fn sample() -> TensorFile<'static> {
    let numbers = vec![0.0, -0.0, 1.5, f32::MIN_POSITIVE / 4.0, f32::MAX, -std::f32::consts::PI];
    TensorFile {
        description: json!({
            "preset": "conv", "latent": 2, "seed": u64::MAX, "name": "Größe \"π\"\n", "best": 0.1 + 0.2, "none": null,
            "sums": [1e-308, 123_456_789.123_456_78, -0.0], "nested": {"b": 1, "a": true}
        }),
        tensors: vec![
            NamedTensor::new("encoder.conv1.weight", &[3, 2], numbers),
            NamedTensor::new("encoder.conv1.bias", &[1], vec![0.25]),
            NamedTensor::new("a scalar", &[], vec![7.0]),
        ],
    }
}

fn encode(file: &TensorFile<'_>) -> Vec<u8> {
    file.encode(Path::new(PATH)).unwrap()
}

fn decode(bytes: &[u8]) -> Result<TensorFile<'static>> {
    TensorFile::decode(bytes, Path::new(PATH))
}

/// The refusal's message, which names the file and is one sentence without a line end.
fn refusal(bytes: &[u8]) -> String {
    let message = decode(bytes).expect_err("this file must be refused").to_string();
    assert!(message.starts_with("model.safetensors: ") && !message.contains('\n'), "{message}");
    message
}

/// A file with this header and data, with a valid checksum if the header has a place for one.
fn forge(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    let digits = 8 + DIGITS.start..8 + DIGITS.end;
    if header.starts_with(START) {
        bytes[digits.clone()].fill(b'0');
        let checksum = format!("{:08x}", crc32fast::hash(&bytes));
        bytes[digits].copy_from_slice(checksum.as_bytes());
    }
    bytes
}

#[test]
fn what_was_saved_is_loaded_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PATH);
    let saved = sample();
    saved.save(&Disk, &path).unwrap();
    let loaded = TensorFile::load(&path, 1 << 20).unwrap();
    assert_eq!(loaded, saved);
    let bits = |file: &TensorFile<'_>| file.tensors[0].data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&loaded), bits(&saved));
    assert_eq!(loaded.description["best"].as_f64().unwrap().to_bits(), (0.1f64 + 0.2).to_bits());
    assert_eq!(std::fs::read(&path).unwrap(), encode(&saved));
}

#[test]
fn the_same_content_is_the_same_bytes() {
    let mut other = sample();
    other.description = Value::Null;
    for key in ["sums", "seed", "preset", "nested", "none", "name", "latent", "best"] {
        other.description[key] = sample().description[key].clone();
    }
    assert_eq!(encode(&other), encode(&sample()));
    assert_eq!(encode(&decode(&encode(&sample())).unwrap()), encode(&sample()));
}

#[test]
fn the_layout_is_the_documented_one() {
    let file = TensorFile {
        description: json!({"b": 2, "a": 10}),
        tensors: vec![NamedTensor::new("w", &[2], vec![1.0, 2.0])],
    };
    // The checksum is Python's: zlib.crc32 of these bytes with zeros in its place.
    let header = concat!(
        r#"{"__metadata__":{"checksum":"e6dcfcaa","elbo":"{\"a\":10,\"b\":2}"},"#,
        r#""w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        "       "
    );
    let bytes = encode(&file);
    assert_eq!(std::str::from_utf8(&bytes[8..bytes.len() - 8]).unwrap(), header);
    assert_eq!(bytes[..8], (header.len() as u64).to_le_bytes());
    assert_eq!(bytes[bytes.len() - 8..], [0, 0, 128, 63, 0, 0, 0, 64]);
    // The format's reference reader accepts it.
    let read = safetensors::SafeTensors::deserialize(&encode(&sample())).map(|file| file.len());
    assert_eq!(read.unwrap(), 3);
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = encode(&sample());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        refusal(&damaged);
    }
}

#[test]
fn every_cut_and_every_addition_is_found() {
    let bytes = encode(&sample());
    for length in 0..bytes.len() {
        refusal(&bytes[..length]);
        refusal(&bytes[length + 1..]);
    }
    for byte in 0..=255 {
        let mut longer = bytes.clone();
        longer.push(byte);
        assert!(refusal(&longer).contains("cut short or added to"));
    }
}

#[test]
fn files_of_other_programs_are_told_apart() {
    let other = forge(r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
    assert!(refusal(&other).contains("safetensors file of another program"));
    assert!(refusal(b"\x89PNG\r\n\x1a\n and so on, for a while").contains("not a model or checkpoint file"));
    assert!(refusal(b"").contains("0 bytes long"));
    let resaved = forge(r#"{"__metadata__":{"elbo":"{}","checksum":"00000000"}}"#, &[]);
    assert!(refusal(&resaved).contains("re-saved by another program"));
}

#[test]
fn headers_that_lie_are_refused_even_with_a_right_checksum() {
    let forged = |rest: &str, data: &[u8]| forge(&format!(r#"{START}00000000","elbo":"{{}}"}}{rest}"#), data);
    let pad = |rest: &str, data: &[u8]| {
        let length = START.len() + r#"00000000","elbo":"{}"}"#.len() + rest.len();
        forged(&format!("{rest}{}", " ".repeat(length.next_multiple_of(8) - length)), data)
    };
    let good = r#","w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    decode(&pad(good, &[0; 4])).unwrap();
    assert!(refusal(&forged(good, &[0; 4])).contains("would not have written"), "no padding");
    let cases = [
        // (text after the metadata, bytes of data, text that the message contains)
        (r#","w":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#, 8, "or is damaged"),
        (r#","w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "or is damaged"),
        (r#","w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "or is damaged"),
        (r#","w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "or is damaged"),
        (r#","w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0, "or is damaged"),
        (r#","w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#, 4, "cut short"),
        (r#","w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#, 8, "F64"),
        (r#","w":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#, 1, "F4"),
        (r#","w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0}}"#, 4, "would not have written"),
        (
            r#","w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            4,
            "would not have written",
        ),
        (r#","__metadata__":{"elbo":"{}"}}"#, 0, "or is damaged"),
    ];
    for (rest, data, expected) in cases {
        let message = refusal(&pad(rest, &vec![0; data]));
        assert!(message.contains(expected), "{rest} gives {message}");
    }
    // Sixteen tensors whose sizes add up to 2⁶⁴ − 4 bytes, and names and types that would write to the
    // terminal.
    let (size, end) = (1u64 << 60, u64::MAX - 3);
    let mut huge = String::new();
    for i in 0..16 {
        let (from, to) = (i * size, end.min((i + 1).saturating_mul(size)));
        let elements = (to - from) / 4;
        huge += &format!(r#","w{i}":{{"dtype":"F32","shape":[{elements}],"data_offsets":[{from},{to}]}}"#);
    }
    assert!(refusal(&pad(&(huge + "}"), &[0; 4])).contains("cut short or added to"));
    let escape = r#","\u001b[2J\n":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    assert!(refusal(&pad(escape, &f32::NAN.to_le_bytes())).contains(r"\u{1b}[2J\n has the value NaN"));
    let escape = r#","w":{"dtype":"\u001b[2J\nF32","shape":[1],"data_offsets":[0,4]}}"#;
    assert!(refusal(&pad(escape, &[0; 4])).contains(r"\u{1b}[2J\nF32"));
    assert!(refusal(&pad(good, &f32::NAN.to_le_bytes())).contains("w has the value NaN at position 0"));
    assert!(refusal(&pad(good, &f32::INFINITY.to_le_bytes())).contains("inf"));
}

#[test]
fn a_deep_or_large_description_is_refused() {
    let described = |text: &str| {
        let quoted = Value::from(text).to_string();
        forge(&format!(r#"{START}00000000","elbo":{quoted}}}}}"#), &[])
    };
    assert!(refusal(&described("{")).contains("not JSON"));
    assert!(refusal(&described(&"[".repeat(100_000))).contains("not JSON"));
    assert!(refusal(&described(&" ".repeat(MAX_HEADER))).contains("at most 524288 accepted"));
    let file = TensorFile { description: json!("x".repeat(MAX_HEADER)), tensors: vec![] };
    assert!(file.encode(Path::new(PATH)).unwrap_err().to_string().contains("would take"));
}

#[test]
fn only_finite_numbers_are_saved() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut numbers = vec![1.0; 2 * BLOCK + 5];
        numbers[BLOCK + 3] = value;
        let file = TensorFile {
            description: json!({}),
            tensors: vec![NamedTensor::new("w", &[2 * BLOCK + 5], numbers)],
        };
        let folder = tempfile::tempdir().unwrap();
        let message = file.save(&Disk, &folder.path().join(PATH)).unwrap_err().to_string();
        assert!(message.contains(&format!("w has the value {value} at position {}", BLOCK + 3)), "{message}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn a_file_above_the_limit_is_refused_by_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PATH);
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let message = TensorFile::load(&path, 1 << 30).unwrap_err().to_string();
    assert!(message.contains("1099511627776 bytes") && message.contains("--max-memory"), "{message}");
    assert!(TensorFile::load(folder.path(), 1 << 30).unwrap_err().to_string().contains("is not a file"));
    let missing = TensorFile::load(&folder.path().join("none"), 1 << 30).unwrap_err().to_string();
    assert!(missing.starts_with("cannot open "), "{missing}");
}

#[test]
fn tensors_are_taken_by_name_and_shape() {
    let (mut file, path) = (sample(), Path::new(PATH));
    assert_eq!(file.take("encoder.conv1.bias", &[1], path).unwrap(), [0.25]);
    let message = file.take("encoder.conv1.bias", &[1], path).unwrap_err().to_string();
    assert!(message.contains("has no tensor encoder.conv1.bias"), "{message}");
    let message = file.take("encoder.conv1.weight", &[2, 3], path).unwrap_err().to_string();
    assert!(message.contains("has the shape [3, 2]; its configuration needs [2, 3]"), "{message}");
    assert!(file.expect_empty(path).unwrap_err().to_string().contains("encoder.conv1.weight"));
    file.take("encoder.conv1.weight", &[3, 2], path).unwrap();
    file.take("a scalar", &[], path).unwrap();
    file.expect_empty(path).unwrap();
}

#[test]
fn a_fault_at_any_call_leaves_a_loadable_file() {
    let mut large = sample();
    large.tensors.push(NamedTensor::new("large", &[200, 500], vec![0.5; 100_000]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PATH);
    let recorder = Faulty::recording();
    large.save(&recorder, &path).unwrap();
    let calls = recorder.calls();
    assert!(calls.iter().filter(|call| call.operation == Operation::Write).count() >= 7, "{calls:?}");
    for call in 1..=calls.len() {
        for fault in Fault::ALL {
            sample().save(&Disk, &path).unwrap();
            let result = large.save(&Faulty::new(FaultPlan { call, onwards: false, fault }), &path);
            let renamed = result.is_ok() || calls[call - 1].operation == Operation::SyncFolder;
            assert_eq!(result.is_ok(), fault == Fault::ShortWrite, "call {call}, {fault:?}");
            let expected = if renamed { &large } else { &sample() };
            assert_eq!(TensorFile::load(&path, 1 << 20).unwrap(), *expected, "call {call}, {fault:?}");
        }
    }
}

proptest! {
    /// Bytes that are not a file at all, or one with a few bytes changed: refused, without a panic.
    #[test]
    fn mutations_are_refused(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let bytes = encode(&sample());
        let mut damaged = bytes.clone();
        for (at, byte) in edits {
            damaged[at.index(bytes.len())] = byte;
        }
        prop_assert_eq!(decode(&damaged).is_ok(), damaged == bytes);
    }

    /// Changes to the JSON under a valid checksum: only canonical files are read.
    #[test]
    fn forged_headers_are_refused_or_canonical(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:0123456789-e. \\aF".to_vec())), 1..4),
    ) {
        let bytes = encode(&sample());
        let start = 8 + DIGITS.end;
        let header_end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header = bytes[8..header_end].to_vec();
        for (at, byte) in edits {
            let at = start - 8 + at.index(header.len() - (start - 8));
            header[at] = byte;
        }
        // A change inside a multi-byte character makes invalid text.
        let header = String::from_utf8_lossy(&header).into_owned();
        let forged = forge(&header, &bytes[header_end..]);
        if let Ok(read) = decode(&forged) {
            prop_assert_eq!(encode(&read), forged);
        }
    }
}

#[test]
#[should_panic(expected = "tensor w has the shape [3]")]
fn a_tensor_that_does_not_fit_its_shape_is_not_written() {
    let tensor = NamedTensor { name: "w".into(), shape: vec![3], data: vec![1.0; 2].into() };
    let _ = TensorFile { description: json!({}), tensors: vec![tensor] }.encode(Path::new(PATH));
}

#[test]
#[should_panic(expected = "two tensors are named w")]
fn two_tensors_of_one_name_are_not_written() {
    let tensor = NamedTensor::new("w", &[1], vec![1.0]);
    let _ =
        TensorFile { description: json!({}), tensors: vec![tensor.clone(), tensor] }.encode(Path::new(PATH));
}
