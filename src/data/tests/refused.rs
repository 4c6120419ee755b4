//! Arrays that are refused, and other topics around reading them: labels, writing, conversion.

use super::*;
use std::time::{Duration, Instant};

#[test]
fn hostile_arrays() {
    let options = LoadOptions::default();
    let whole = npy_file("|u1", &[1, 4, 4], &[0; 16]);
    let header = |text: &str| refused(&npy_with_header(text, &[0; 16]), &options);
    let mut cut = whole.clone();
    cut.pop();
    assert!(refused(&cut, &options).contains("bytes where its header promises"));
    cut.extend([0; 2]);
    assert!(refused(&cut, &options).contains("bytes where its header promises"));
    assert!(refused(&whole[..20], &options).contains("in the middle: it was cut off or damaged"));
    assert_eq!(
        header(&"[".repeat(40)),
        "x: its header opens more than 2 brackets, and that of an array of numbers opens two"
    );
    assert_eq!(
        header(&" ".repeat(20_000)),
        "x: its header has 20000 bytes; an array of numbers needs no more than 10000"
    );
    for shape in [
        "(4294967296, 4294967296, 4294967296)",
        "(65536, 65536, 65536, 65536)",
        "(0, 18446744073709551615, 2)",
        "(2305843009213693952, 8, 1)",
        "(9_999_999_999_999, 9_999_999_999_999, 1)",
        "(0xffffffffffff, 0xffffffffffff, 1)",
    ] {
        let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}");
        let message = header(&text);
        assert!(
            message.contains("larger than any memory") || message.contains("where a number is expected"),
            "{message}"
        );
    }
    let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000)}";
    assert!(header(text).contains("where its header promises 10000000000"), "{}", header(text));
    for (descr, found) in [
        ("|O", "its elements are '|O'; integers, bool, f16, f32 or f64 can be read"),
        ("<c8", "its elements are '<c8'; integers"),
    ] {
        let file = npy_file(descr, &[1, 4, 4], &[0; 128]);
        assert!(refused(&file, &options).contains(found), "{}", refused(&file, &options));
    }
    assert_eq!(
        refused(&npy_file("|b1", &[2, 1, 2], &[0, 1, 1, 2]), &options),
        "x: image 1 has a bool that is neither 0 nor 1"
    );

    // Compressed: a header that promises an impossible length, too much, too little, damage.
    let claim = |count: u32| gzip(&idx_file(8, &[count, 28, 28], &[0; 784]));
    assert!(refused(&claim(1_000_000), &options).contains("more than its compressed size can hold"));
    assert!(refused(&claim(2), &options).contains("it ends after 800 bytes, in the middle"));
    assert!(
        refused(&gzip(&idx_file(8, &[1, 8, 8], &[0; 65])), &options)
            .contains("it continues after the 80 bytes that its header promises")
    );
    let mut damaged =
        gzip(&idx_file(8, &[1, 28, 28], &(0..784).map(|i| (i * i % 256) as u8).collect::<Vec<_>>()));
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    assert!(
        refused(&damaged, &options).contains("compressed data are damaged"),
        "{}",
        refused(&damaged, &options)
    );
    let bomb = gzip(&vec![0; 50 << 20]);
    assert!(refused(&bomb, &options).contains("starts with zeros"));
    let bomb = gzip(&idx_file(8, &[1, 8, 8], &vec![0; 50 << 20]));
    assert!(refused(&bomb, &options).contains("it continues after the 80 bytes"));
    assert!(
        refused(&gzip(&gzip(b"hello")), &options)
            .contains("it holds gzip data inside of gzip; IDX or npy can be read there")
    );

    let long = npy_file("|u1", &[1, 1, 65_536], &[0; 65_536]);
    assert_eq!(refused(&long, &options), "x: its images are 1×65536; 65535 in each direction are the most");
    assert!(refused(&idx_file(8, &[5], &[0; 5]), &options).contains("its shape 5 is not that of images"));
    assert!(
        refused(&[0, 0, 8, 9, 0, 0, 0, 1], &options)
            .contains("its array has 9 axes; 1 (labels), 3 or 4 (images) are expected")
    );
    assert!(refused(&idx_file(8, &[u32::MAX; 3], &[0; 5]), &options).contains("larger than any memory"));
    assert!(refused(b"PK\x03\x04rubbish", &options).contains("it is not a zip archive, or is damaged"));
    let archive = std::fs::read(seed("npz/keras_deflated.npz")).unwrap();
    assert!(
        refused(&archive[..archive.len() - 30], &options).contains("it is not a zip archive, or is damaged")
    );
}

#[test]
fn a_directory_that_promises_too_much() {
    // A stored member whose sizes in the directory match its own header's claim.
    let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (4000, 1000, 1000), }";
    let huge = npy_with_header(text, &[0; 500]);
    let size = (huge.len() as u32).to_le_bytes();
    let promised = (10 + text.len() as u32 + 4_000_000_000).to_le_bytes();
    let mut file = std::fs::read(seed("npz/keras_stored.npz")).unwrap();
    let start = file.windows(6).position(|bytes| bytes == b"\x93NUMPY").unwrap();
    let old = (128u32 + 360).to_le_bytes();
    assert!(huge.len() > 488);
    file.splice(start..start + 488, huge);
    let directory = file.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    assert_eq!((&file[directory + 20..directory + 24], size.len()), (&old[..], 4));
    file[directory + 20..directory + 24].copy_from_slice(&promised);
    file[directory + 24..directory + 28].copy_from_slice(&promised);
    // The following data have moved: the last record says by how much.
    let end = file.len() - 22;
    let moved =
        u32::from_le_bytes(file[end + 16..end + 20].try_into().unwrap()) + u32::from_le_bytes(size) - 488;
    file[end + 16..end + 20].copy_from_slice(&moved.to_le_bytes());
    let message = refused(&file, &LoadOptions { array: Some("x_train".into()), ..LoadOptions::default() });
    assert!(message.contains("bytes where its header promises 4000000"), "{message}");
}

/// npyz's grammar takes exponential time for nested texts; none may get to it. Of the texts that do, the
/// longest possible are tried, and the time of the worst is printed.
#[test]
fn nested_and_long_headers_are_refused() {
    let tokens = [
        "(", ")", "[", "]", "{", "}", "'", "\"", ",", ":", "1", "-", "+", "j", "True", "\\", " ", "b'",
        "'a':", "(1,),", "\n", "#", "1.5e3",
    ];
    let hidden = npy_with_header(&format!("{{'{}': {}", ")".repeat(40), "{".repeat(40)), &[]);
    assert!(refused(&hidden, &LoadOptions::default()).contains("opens more than 2 brackets"));
    let mut longest = Duration::ZERO;
    for first in tokens {
        for second in tokens {
            for (open, close) in
                [("", ""), ("{{{(", ""), ("{'descr': ", "}"), ("{'descr': '|u1', 'shape': (", ")}")]
            {
                let middle = [first, second].concat();
                let count = (9_900 - open.len() - close.len()) / middle.len();
                let file = npy_with_header(&format!("{open}{}{close}", middle.repeat(count)), &[0; 16]);
                let start = Instant::now();
                refused(&file, &LoadOptions::default());
                longest = longest.max(start.elapsed());
            }
        }
    }
    println!("the longest took {longest:?}"); // to look at: a test has no business with the clock
}

#[test]
fn labels_must_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("train-images-idx3-ubyte"), idx_file(8, &[2, 2, 2], &[0; 8])).unwrap();
    let data = load_quietly(folder.path(), &LoadOptions::default()).unwrap();
    assert_eq!((data.labels, data.test), (None, None));
    std::fs::write(path("train-labels-idx1-ubyte.gz"), gzip(&idx_file(8, &[2], &[4, 9]))).unwrap();
    let data = load_quietly(folder.path(), &LoadOptions::default()).unwrap();
    assert_eq!(data.labels.unwrap().ids, [4, 9]);
    let by_itself = load_quietly(path("train-images-idx3-ubyte"), &LoadOptions::default()).unwrap();
    assert_eq!(by_itself.labels.unwrap().ids, [4, 9]);
    for (labels, expected) in [
        (idx_file(8, &[3], &[0; 3]), "it has 3 labels for 2 images; there must be one for each"),
        (idx_file(9, &[2], &[1, 255]), "label 1 is not a whole number from 0 to 4294967295"),
        (idx_file(8, &[1, 2], &[0; 2]), "labels are N whole numbers, and this array has the shape 1×2"),
        (npy_file("|u1", &[2], &[0; 2]), "its name is that of an IDX file, and its content is npy"),
    ] {
        std::fs::write(path("train-labels-idx1-ubyte"), labels).unwrap();
        assert_eq!(
            message(load_quietly(folder.path(), &LoadOptions::default())),
            format!("{}: {expected}", path("train-labels-idx1-ubyte").display())
        );
    }
}

#[test]
fn what_is_written_can_be_read() {
    let values: Vec<f32> = (0..12).map(|i| i as f32 - 5.5).collect();
    let mut file = Vec::new();
    write_npy_f32(&mut file, &[3, 4], &values).unwrap();
    let matrix = matrix_from_bytes(&file, Path::new("z.npy"), 1 << 20).unwrap();
    assert_eq!((matrix.rows, matrix.columns, &matrix.values), (3, 4, &values));
    let on_disk = tempfile::tempdir().unwrap();
    let path = on_disk.path().join("z.npy");
    std::fs::write(&path, &file).unwrap();
    assert_eq!(read_matrix(&path, 1 << 20).unwrap(), matrix);
    assert!(message(read_matrix(&path, 40)).contains("--max-memory"));
    assert_eq!(
        message(read_matrix(on_disk.path(), 40)),
        format!(
            "{}: it is not a file; a .npy file with a matrix of f32 numbers is expected",
            on_disk.path().display()
        )
    );
    let mut file = Vec::new();
    write_npy_u8(&mut file, &[2, 2, 2, 3], &(0..24).collect::<Vec<u8>>()).unwrap();
    assert_eq!(
        parse(&file, Path::new("x"), &LoadOptions::default()).unwrap().train,
        Images::from_bytes((0..24).collect::<Vec<u8>>(), 2, 2, 2, 3)
    );
    let refused = |file: &[u8]| message(matrix_from_bytes(file, Path::new("z"), 1 << 20));
    assert_eq!(refused(&file), "z: its shape is 2×2×2×3; a matrix of rows×columns is expected");
    assert!(refused(&npy_file("|u1", &[2, 2], &[0; 4])).contains("not of floating-point numbers"));
    assert!(refused(&npy_file("<f4", &[0, 2], &[])).contains("its matrix of 0×2 is empty"));
    assert_eq!(
        refused(&npy_file("<f4", &[2, 1], &[0, 0, 0, 0, 0, 0, 0xc0, 0x7f])),
        "z: image 1 has the value NaN; all must be finite"
    );
    // More rows than an image may have: one code for each of many images.
    let many = npy_file("<f4", &[70_000, 1], &[0; 4 * 70_000]);
    assert_eq!(matrix_from_bytes(&many, Path::new("z"), 1 << 20).unwrap().rows, 70_000);
}

#[test]
fn conversion_and_size_for_arrays() {
    let options = LoadOptions { size: Some((4, 4)), color: Some(Color::Rgb), ..LoadOptions::default() };
    let data = parse(&npy_file("|u1", &[2, 8, 8], &[[50; 64], [70; 64]].concat()), Path::new("x"), &options)
        .unwrap();
    assert_eq!(data.train, Images::from_bytes([[50; 48], [70; 48]].concat(), 2, 4, 4, 3));
    let options =
        LoadOptions { color: Some(Color::Grey), layout: Some(Layout::Nhwc), ..LoadOptions::default() };
    assert_eq!(
        refused(&npy_file("|u1", &[1, 2, 2, 2], &[0; 8]), &options),
        "x: the images have 2 channels, and --grey takes images of 1 (grey), 3 (RGB) or 4 (RGB and alpha)"
    );
    let data = parse(&npy_file("|u1", &[1, 1, 1, 4], &[0, 0, 0, 51]), Path::new("x"), &options).unwrap();
    assert_eq!(bytes(&data.train), [204]);
    let options = LoadOptions { size: Some((0, 4)), ..LoadOptions::default() };
    assert_eq!(refused(&[], &options), "--size 0x4 must be from 1 to 65535 in both directions");
    let options = LoadOptions { size: Some((60_000, 60_000)), ..LoadOptions::default() };
    assert!(refused(&npy_file("|u1", &[4, 1, 1], &[0; 4]), &options).contains("--max-memory allows"));
}

#[test]
fn arrays_that_are_nearly_images_are_named() {
    let options = LoadOptions::default();
    let shape =
        |shape: &[usize]| refused(&npy_file("|u1", shape, &vec![0; shape.iter().product()]), &options);
    let fields = "{'descr': [('x', '|u1', (8, 8)), ('y', '<i4')], 'fortran_order': False, 'shape': (2,), }";
    let message = refused(&npy_with_header(fields, &[0; 136]), &options);
    assert!(
        message.contains("several fields (a structured dtype)") && message.contains("array['FIELD']"),
        "{message}"
    );
    let message = shape(&[3, 785]);
    assert!(
        message.contains("one number more than 28×28 pixels") && message.contains("labels=array[:, 0]"),
        "{message}"
    );
    let with_size = LoadOptions { size: Some((28, 28)), ..LoadOptions::default() };
    let message = refused(&npy_file("|u1", &[2, 785], &[0; 1570]), &with_size);
    assert!(message.contains("one number more than 28×28 pixels"), "{message}");
    assert!(shape(&[9]).contains(
        "its shape 9 is not that of images, which is N×H×W, N×H×W×C or N×C×H×W: one axis is what labels have"
    ));
    let message = shape(&[28, 28, 40]);
    assert!(
        message.contains("looks like rows×columns×images")
            && message.contains("numpy.moveaxis(array, -1, 0)"),
        "{message}"
    );
    assert!(message.ends_with("--layout nhw takes it as 28 images of 28×40"), "{message}");
    assert!(shape(&[28, 28, 3]).contains("one image of rows×columns×channels"));
    assert!(shape(&[16, 16, 3, 10]).contains("rows×columns×channels×images"));
    let layout = LoadOptions { layout: Some(Layout::Nhw), ..LoadOptions::default() };
    assert_eq!(
        parse(&npy_file("|u1", &[9, 9, 8], &[0; 648]), Path::new("x"), &layout).unwrap().train.count,
        9
    );
    assert_eq!(
        parse(&npy_file("|u1", &[9, 9, 9], &[0; 729]), Path::new("x"), &options).unwrap().train.count,
        9
    );
    let labels = npz_file(&[("arr_0.npy", &npy_file("|u1", &[9], &[0; 9]))]);
    let message = refused(&labels, &options);
    assert!(
        message.contains("it has no array of images")
            && message.contains("arr_0 (9): one axis is what labels have"),
        "{message}"
    );
}

#[test]
fn reading_arrays_tells_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    for (kind, bytes) in [("|u1", 1), ("<f4", 4)] {
        std::fs::write(&path, npy_file(kind, &[300, 20, 20], &vec![0; 300 * 400 * bytes])).unwrap();
        let told = std::sync::Mutex::new(Vec::new());
        load(&path, &LoadOptions::default(), &|done, total| told.lock().unwrap().push((done, total)))
            .unwrap();
        let told = told.into_inner().unwrap();
        assert!(told.len() > 1 && told.is_sorted(), "{told:?}");
        assert_eq!(told.last(), Some(&(300, 300)));
    }
}

#[test]
fn paths_that_are_no_data() {
    let missing = message(load_quietly("no/such/file", &LoadOptions::default()));
    assert!(missing.starts_with("cannot read no/such/file: "), "{missing}");
    assert!(
        message(load_quietly("/dev/null", &LoadOptions::default()))
            .contains("it is neither a file nor a folder")
    );
}
