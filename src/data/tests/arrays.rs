//! IDX, npy and npz.

use super::*;

/// The contents of the seeds: element i is i % 251.
fn counted(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

#[test]
fn mnist_as_it_comes() {
    let folder = find_bundled().expect("the package brings data/mnist");
    let data = load_quietly(&folder, &LoadOptions::default()).unwrap();
    let test = data.test.as_ref().unwrap();
    assert_eq!(
        (data.train.count, data.train.height, data.train.width, data.train.channels),
        (60_000, 28, 28, 1)
    );
    assert_eq!((test.count, test.height, test.width, test.channels), (10_000, 28, 28, 1));
    let (labels, test_labels) = (data.labels.as_ref().unwrap(), data.test_labels.as_ref().unwrap());
    assert_eq!(labels.ids[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(test_labels.ids[..5], [7, 2, 1, 0, 4]);
    assert_eq!(labels.names, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    // Known sums of the MNIST training pixels and labels: the mean is 33.318…, as published (0.1307 of 255).
    let mean = bytes(&data.train).iter().map(|&v| f64::from(v)).sum::<f64>() / 47_040_000.0;
    assert!((mean - 33.318_421).abs() < 1e-5, "{mean}");
    assert_eq!(
        data.description,
        "IDX: 60000 images and 10000 test images of 28×28, grey, bytes from 0 to 255, 10 classes, 52.3 MiB in memory"
    );

    let options = LoadOptions { part: Part::Test, ..LoadOptions::default() };
    let only_test = load_quietly(&folder, &options).unwrap();
    assert_eq!(only_test.train.count, 0);
    assert_eq!(only_test.test, data.test);
    assert_eq!(only_test.test_labels, data.test_labels);
    let options = LoadOptions { part: Part::Train, ..LoadOptions::default() };
    let only_train = load_quietly(&folder, &options).unwrap();
    assert_eq!((only_train.fingerprint(), only_train.test), (data.fingerprint(), None));

    let one = load_quietly(folder.join("t10k-images-idx3-ubyte.gz"), &LoadOptions::default()).unwrap();
    assert_eq!((&one.train, one.test, one.labels), (test, None, data.test_labels));

    let options = LoadOptions { max_memory: 40 << 20, ..LoadOptions::default() };
    let message = message(load_quietly(&folder, &options));
    assert!(message.ends_with("train-images-idx3-ubyte.gz: its images take 44.9 MiB of memory, more than the 40.0 MiB that --max-memory allows"), "{message}");
}

#[test]
fn every_array_gives_the_same_images() {
    for name in ["idx/images.idx", "idx/images.idx.gz", "npy/nhw.npy", "npy/nhw.npy.gz"] {
        let data = load_quietly(seed(name), &LoadOptions::default()).unwrap();
        assert_eq!(data.train, Images::from_bytes(counted(360), 5, 8, 9, 1), "{name}");
    }
    for name in ["idx/rgb.idx", "npy/nhwc.npy", "npy/fortran.npy"] {
        let data = load_quietly(seed(name), &LoadOptions::default()).unwrap();
        assert_eq!(data.train, Images::from_bytes(counted(432), 2, 8, 9, 3), "{name}");
    }
    // N×C×H×W: pixel p of channel c is element c·72 + p of its image.
    let from = counted(432);
    let nhwc: Vec<u8> = (0..432).map(|i| from[i / 216 * 216 + i % 3 * 72 + i % 216 / 3]).collect();
    for name in ["npy/nchw.npy", "npy/fortran_nchw.npy"] {
        let data = load_quietly(seed(name), &LoadOptions::default()).unwrap();
        assert_eq!(data.train, Images::from_bytes(nhwc.clone(), 2, 8, 9, 3), "{name}");
    }
    for (name, count) in [
        ("idx/floats.idx", 128),
        ("npy/f32.npy", 128),
        ("npy/f64_v2.npy", 64),
        ("npy/big_endian_v3.npy", 128),
    ] {
        let data = load_quietly(seed(name), &LoadOptions::default()).unwrap();
        let expected: Vec<f32> = (0..count).map(|i| (f64::from(i % 251) / 250.0) as f32).collect();
        assert_eq!(floats(&data.train), expected, "{name}");
        assert_eq!(data.train.range, Range::UNIT);
    }
    let data = load_quietly(seed("npy/bool.npy"), &LoadOptions::default()).unwrap();
    assert_eq!((bytes(&data.train)[..3].to_vec(), data.train.range), (vec![0, 1, 0], Range::UNIT));
}

#[test]
fn archives() {
    for name in ["keras_stored", "keras_deflated", "keras_streamed", "keras_zip64"] {
        let data = load_quietly(seed(&format!("npz/{name}.npz")), &LoadOptions::default()).unwrap();
        assert_eq!(data.train, Images::from_bytes(counted(360), 5, 8, 9, 1), "{name}");
        assert_eq!(data.test.unwrap(), Images::from_bytes(counted(144), 2, 8, 9, 1), "{name}");
        assert_eq!(data.labels.unwrap().ids, [3, 1, 0, 2, 1]);
        assert_eq!(data.test_labels.unwrap().ids, [3, 0]);
    }
    let data = load_quietly(seed("npz/one_array.npz"), &LoadOptions::default()).unwrap();
    assert_eq!((data.train.count, floats(&data.train)[1]), (2, 1.0 / 250.0));
    assert_eq!(data.labels.unwrap().ids, [9, 4]);
    assert_eq!(data.test, None);

    // Unrequested arrays are not read: here that would fail.
    let x = npy_file("|u1", &[2, 2, 2], &[9; 8]);
    let file = npz_file(&[("x_train.npy", &x), ("x_test.npy", b"no array")]);
    let train = LoadOptions { part: Part::Train, ..LoadOptions::default() };
    assert_eq!(bytes(&parse(&file, Path::new("x"), &train).unwrap().train), [9; 8]);
    assert!(refused(&file, &LoadOptions::default()).starts_with("x: x_test.npy: "));

    let mut two = npz_file(&[("a.npy", &x), ("up/up/b.npy", &x), ("readme.txt", b"hello")]);
    while let Some(at) = two.windows(6).position(|name| name == b"up/up/") {
        two[at..at + 6].copy_from_slice(b"../../"); // the writer would have refused it
    }
    assert_eq!(
        refused(&two, &train),
        "x: it has 2 arrays with the shape of images, and it is not clear which one to use; --array NAME chooses one of: ../../b (2×2×2), a (2×2×2)"
    );
    assert_eq!(
        refused(&npz_file(&[("a.npy", &x), ("a.npy", &x)]), &train),
        "x: it has two arrays with the name a"
    );
    let labels = npy_file("|u1", &[3], &[0, 1, 2]);
    assert_eq!(
        refused(&npz_file(&[("x_train.npy", &x), ("y_train.npy", &labels)]), &train),
        "x: y_train.npy: it has 3 labels for 2 images; there must be one for each"
    );
    assert_eq!(
        refused(&npz_file(&[("images.npy", &x), ("labels.npy", &labels)]), &train),
        "x: labels.npy: it has 3 labels for 2 images; there must be one for each"
    );
    let f = npy_file("<f4", &[1, 2, 2], &[0; 16]);
    assert_eq!(
        refused(&npz_file(&[("x_train.npy", &x), ("x_test.npy", &f)]), &LoadOptions::default()),
        "x: of its training and test images one are bytes and the other floats; both must be the same"
    );
    let small = npy_file("|u1", &[1, 2, 1], &[0; 2]);
    assert_eq!(
        refused(&npz_file(&[("x_train.npy", &x), ("x_test.npy", &small)]), &LoadOptions::default()),
        "x: its training images are 2×2×1 and its test images 2×1×1; both must be the same"
    );
    // An additional array that is not labels is ignored.
    let other = npy_file("<f8", &[2], &[0; 16]);
    assert_eq!(
        parse(&npz_file(&[("a.npy", &x), ("b.npy", &other)]), Path::new("x"), &train).unwrap().labels,
        None
    );
}

#[test]
fn layouts() {
    let options = |layout| LoadOptions { layout, ..LoadOptions::default() };
    let file = |shape: &[usize]| npy_file("|u1", shape, &vec![0; shape.iter().product()]);
    for (shape, layout, expected) in [
        (&[2, 8, 9][..], None, (2, 8, 9, 1)),
        (&[2, 8, 9], Some(Layout::Nhw), (2, 8, 9, 1)),
        (&[2, 8, 9, 4], None, (2, 8, 9, 4)),
        (&[2, 4, 8, 9], None, (2, 8, 9, 4)),
        (&[2, 3, 8, 3], Some(Layout::Nchw), (2, 8, 3, 3)),
        (&[2, 3, 8, 3], Some(Layout::Nhwc), (2, 3, 8, 3)),
        (&[2, 8, 9, 2], Some(Layout::Nhwc), (2, 8, 9, 2)),
        (&[2, 8, 9, 2], Some(Layout::Nchw), (2, 9, 2, 8)),
    ] {
        let images = parse(&file(shape), Path::new("x"), &options(layout)).unwrap().train;
        assert_eq!(
            (images.count, images.height, images.width, images.channels),
            expected,
            "{shape:?} {layout:?}"
        );
    }
    for (shape, layout, expected) in [
        (
            &[2, 3, 8, 3][..],
            None,
            "x: its shape 2×3×8×3 could have its channels second or last; say --layout nchw or --layout nhwc",
        ),
        (
            &[2, 8, 9, 2],
            None,
            "x: neither the second nor the last number of its shape 2×8×9×2 is a usual number of channels (1, 3, 4); say --layout nchw or --layout nhwc",
        ),
        (
            &[2, 8, 9, 3],
            Some(Layout::Nchw),
            "x: its shape 2×8×9×3 has its 3 channels last, and --layout nchw wants them second; nhwc fits",
        ),
        (
            &[2, 3, 8, 9],
            Some(Layout::Nhwc),
            "x: its shape 2×3×8×9 has its 3 channels second, and --layout nhwc wants them last; nchw fits",
        ),
        (
            &[2, 3, 8, 9],
            Some(Layout::Nhw),
            "x: its shape 2×3×8×9 has four axes, and --layout nhw has three; nhwc or nchw can fit",
        ),
        (
            &[2, 8, 9],
            Some(Layout::Nhwc),
            "x: its shape 2×8×9 has no axis of channels, and --layout nhwc asks for one; nhw fits",
        ),
        (
            &[2, 784],
            None,
            "x: its shape 2×784 is not that of images, which is N×H×W, N×H×W×C or N×C×H×W; --size 28 takes each row as 28×28 pixels",
        ),
        (&[0, 8, 9], None, "x: its shape 0×8×9 holds no pixels"),
    ] {
        assert_eq!(refused(&file(shape), &options(layout)), expected);
    }
}

#[test]
fn ranges() {
    let options = |range| LoadOptions { range, ..LoadOptions::default() };
    let file = |values: [f32; 4]| npy_file("<f4", &[2, 1, 2], &values.map(f32::to_le_bytes).concat());
    for (values, asked, expected) in [
        ([0.0, 0.5, 0.25, 1.0], None, Range::UNIT),
        ([-0.5, 0.5, 0.25, 1.0], None, Range::SYMMETRIC),
        ([0.0, 0.5, 0.25, 255.0], None, Range::BYTES),
        ([-3.0, 0.5, 0.25, 4.0], Some((-4.0, 4.0)), Range { low: -4.0, high: 4.0 }),
    ] {
        assert_eq!(parse(&file(values), Path::new("x"), &options(asked)).unwrap().train.range, expected);
    }
    let found = "x: its values go from -3 to 4, ";
    let refusal = |values, asked| refused(&file(values), &options(asked));
    assert_eq!(
        refusal([-3.0, 0.5, 0.25, 4.0], None),
        format!(
            "{found}in none of the usual ranges (0 to 1, -1 to 1, 0 to 255); say which values are black and white with --range -3,4"
        )
    );
    assert_eq!(refusal([-3.0, 0.0, 0.0, 4.0], Some((0.0, 4.0))), format!("{found}outside of --range 0,4"));
    assert_eq!(refusal([0.0; 4], Some((1.0, 1.0))), "--range 1,1 must be two numbers, the smaller first");
    assert_eq!(
        refusal([0.0; 4], Some((0.0, f32::NAN))),
        "--range 0,NaN must be two numbers, the smaller first"
    );
    assert_eq!(refusal([0.0, 0.0, f32::NAN, 1.0], None), "x: image 1 has the value NaN; all must be finite");
    assert_eq!(
        refusal([0.0, f32::INFINITY, 0.0, 1.0], None),
        "x: image 0 has the value inf; all must be finite"
    );
    let bytes = npy_file("|u1", &[1, 1, 2], &[0, 7]);
    assert_eq!(
        refused(&bytes, &options(Some((0.0, 1.0)))),
        "x: its values go from 0 to 7, outside of --range 0,1"
    );
    // A double that no float can hold.
    let file = npy_file("<f8", &[1, 1, 1], &1e300f64.to_le_bytes());
    assert!(refused(&file, &options(None)).contains("image 0 has the value inf"));
    // Bytes as black and white.
    let file = npy_file("|u1", &[1, 1, 2], &[0, 1]);
    let data = parse(&file, Path::new("x"), &options(None)).unwrap();
    assert_eq!(
        data.notes,
        ["all bytes are 0 or 1, which is nearly black out of 255; --range 0,1 takes 1 as white"]
    );
    let data = parse(&file, Path::new("x"), &options(Some((0.0, 1.0)))).unwrap();
    assert_eq!((data.train.to_bytes(0), data.notes), (vec![0, 255], vec![]));
}

#[test]
fn medmnist_and_other_names_of_parts() {
    let images = |n: usize, first: u8| npy_file("|u1", &[n, 2, 2], &vec![first; n * 4]);
    let labels = |values: &[u8]| npy_file("|u1", &[values.len(), 1], values);
    let file = npz_file(&[
        ("train_images.npy", &images(3, 1)),
        ("train_labels.npy", &labels(&[0, 1, 2])),
        ("val_images.npy", &images(2, 2)),
        ("val_labels.npy", &labels(&[2, 1])),
        ("test_images.npy", &images(1, 3)),
        ("test_labels.npy", &labels(&[1])),
    ]);
    let data = parse(&file, Path::new("x"), &LoadOptions::default()).unwrap();
    assert_eq!(bytes(&data.train), [[1; 12].as_slice(), &[2; 8]].concat());
    assert_eq!(data.validation, Some(vec![3, 4]));
    assert_eq!(data.labels.as_ref().unwrap().ids, [0, 1, 2, 2, 1]);
    assert_eq!((bytes(data.test.as_ref().unwrap()), data.test_labels.unwrap().ids), (&[3; 4][..], vec![1]));
    assert!(
        data.description.starts_with("npz: 3 images, 2 validation images and 1 test images of 2×2, grey")
    );

    let file = npz_file(&[("X_train.npy", &images(2, 5)), ("X_test.npy", &images(1, 6))]);
    let data = parse(&file, Path::new("x"), &LoadOptions::default()).unwrap();
    assert_eq!((data.train.count, data.validation, data.test.unwrap().count), (2, None, 1));

    // Of several arrays with the shape of images, the one with that name, or the requested one.
    let file = npz_file(&[("images.npy", &images(2, 7)), ("masks.npy", &images(2, 1))]);
    let data = parse(&file, Path::new("x"), &LoadOptions::default()).unwrap();
    assert_eq!(bytes(&data.train)[0], 7);
    assert_eq!(data.notes, ["the images are the array images; --array chooses another: masks"]);
    let asked = |name: &str| LoadOptions { array: Some(name.into()), ..LoadOptions::default() };
    assert_eq!(bytes(&parse(&file, Path::new("x"), &asked("masks")).unwrap().train)[0], 1);
    assert_eq!(
        refused(&file, &asked("mask")),
        "x: it has no array mask (--array); its arrays are: images (2×2×2), masks (2×2×2)"
    );
}

#[test]
fn rows_of_a_matrix_are_images() {
    let file = npy_file("|u1", &[2, 12], &(0..24).collect::<Vec<u8>>());
    let load = |size, layout| {
        let options = LoadOptions { size: Some(size), layout, ..LoadOptions::default() };
        parse(&file, Path::new("x"), &options).map(|data| data.train)
    };
    let counted = |h, w, c| Images::from_bytes((0..24).collect(), 2, h, w, c);
    assert_eq!(load((3, 4), None).unwrap(), counted(3, 4, 1));
    assert_eq!(load((2, 2), Some(Layout::Nhwc)).unwrap(), counted(2, 2, 3));
    let planes = load((2, 2), Some(Layout::Nchw)).unwrap();
    assert_eq!(bytes(&planes)[..6], [0, 4, 8, 1, 5, 9]);
    assert!(message(load((2, 2), None)).contains("--size 2 takes each row as 2×2 pixels of three numbers"));
    let square = npy_file("|u1", &[1, 16], &[5; 16]);
    let options = LoadOptions { size: Some((3, 3)), ..LoadOptions::default() };
    assert_eq!(
        parse(&square, Path::new("x"), &options).unwrap().train,
        Images::from_bytes(vec![5; 9], 1, 3, 3, 1)
    );
}

#[test]
fn numbers_of_every_type() {
    let options = LoadOptions::default();
    let load = |descr: &str, bytes: &[u8]| {
        parse(&npy_file(descr, &[1, 1, 2], bytes), Path::new("x"), &options).unwrap()
    };
    // Integers that are bytes in all but their type.
    for (descr, values) in [
        ("<i8", [7i64.to_le_bytes(), 250i64.to_le_bytes()].concat()),
        (">u4", [7u32.to_be_bytes(), 250u32.to_be_bytes()].concat()),
        ("<i2", [7i16.to_le_bytes(), 250i16.to_le_bytes()].concat()),
    ] {
        let data = load(descr, &values);
        assert_eq!((bytes(&data.train), data.train.range), (&[7, 250][..], Range::BYTES), "{descr}");
    }
    let data = load("<u2", &[16u16.to_le_bytes(), 4080u16.to_le_bytes()].concat());
    assert_eq!(
        (floats(&data.train), data.train.range),
        (&[16.0, 4080.0][..], Range { low: 0.0, high: 4095.0 })
    );
    assert_eq!(
        data.notes,
        ["its values go from 16 to 4080: 0 is taken as black and 4095 as white; --range LO,HI changes that"]
    );
    let data = load("<i2", &[(-1000i16).to_le_bytes(), 3000i16.to_le_bytes()].concat());
    assert_eq!(data.train.range, Range { low: -1000.0, high: 3000.0 });
    let data = load("|i1", &[128, 127]);
    assert_eq!(
        (floats(&data.train), data.train.range),
        (&[-128.0, 127.0][..], Range { low: -128.0, high: 127.0 })
    );
    let data = load("<f2", &[0x00, 0x38, 0x00, 0x3c]);
    assert_eq!((floats(&data.train), data.train.range), (&[0.5, 1.0][..], Range::UNIT));
}

#[test]
fn rounding_does_not_change_the_range() {
    let options = LoadOptions::default();
    let file = npy_file("<f4", &[1, 1, 2], &[0.0f32.to_le_bytes(), 1.000_000_1f32.to_le_bytes()].concat());
    let data = parse(&file, Path::new("x"), &options).unwrap();
    assert_eq!((floats(&data.train), data.train.range), (&[0.0, 1.0][..], Range::UNIT));
    // The weights of a resized white area sum to a little more than 1.
    let white = npy_file("<f4", &[1, 37, 37], &1f32.to_le_bytes().repeat(37 * 37));
    let options = LoadOptions { size: Some((9, 9)), ..options };
    let data = parse(&white, Path::new("x"), &options).unwrap();
    assert!(floats(&data.train).iter().all(|&v| v <= 1.0 && v > 0.999_99));
}

#[test]
fn the_range_of_training_is_that_of_other_images() {
    let file = |values: [f32; 2]| npy_file("<f4", &[1, 1, 2], &values.map(f32::to_le_bytes).concat());
    let options = LoadOptions { trained_range: Some(Range::SYMMETRIC), ..LoadOptions::default() };
    let range = |file: &[u8]| parse(file, Path::new("x"), &options).unwrap().train.range;
    assert_eq!(range(&file([0.0, 0.5])), Range::SYMMETRIC);
    assert_eq!(range(&file([0.0, 200.0])), Range::BYTES);
    assert_eq!(range(&npy_file("|u1", &[1, 1, 2], &[0, 1])), Range::BYTES);
    let options = LoadOptions { trained_range: Some(Range::UNIT), ..LoadOptions::default() };
    let range = |file: &[u8]| parse(file, Path::new("x"), &options).unwrap().train.range;
    assert_eq!(range(&npy_file("|u1", &[1, 1, 2], &[0, 1])), Range::UNIT, "masks");
    assert_eq!(range(&npy_file("|u1", &[1, 1, 2], &[0, 9])), Range::BYTES);
}
