use super::*;
use crate::storage::faults::{Call, Fault, FaultPlan, Faulty, Operation};
use crate::storage::filesystem::{Disk, OutputFile};
use crate::storage::testing::Child;
use std::fs;

/// More than one block, so that several writes can fail.
fn content() -> Vec<u8> {
    (0..3 * BLOCK as u32).map(|i| (i % 251) as u8).collect()
}

/// In pieces that do not fit the blocks.
fn fill(out: &mut dyn Write) -> io::Result<()> {
    content().chunks(10_007).try_for_each(|piece| out.write_all(piece))
}

type Save = fn(&dyn FileSystem, &Path) -> Result<()>;

fn replace(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    write_atomically(fs, path, fill)
}

fn create(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    write_new(fs, path, fill)
}

fn calls_of(save: Save) -> Vec<Call> {
    let folder = tempfile::tempdir().unwrap();
    let fs = Faulty::recording();
    save(&fs, &folder.path().join("file")).unwrap();
    assert_eq!(fs.count(), fs.calls().len());
    fs.calls()
}

fn names_in(folder: &Path) -> Vec<String> {
    folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_order_is_write_sync_rename_sync_folder() {
    use Operation::*;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let fs = Faulty::recording();
    write_atomically(&fs, &path, fill).unwrap();
    let calls = fs.calls();
    let mut operations: Vec<_> = calls.iter().map(|call| call.operation).collect();
    let (temporary, last) = calls.split_at(calls.len() - 2);
    assert!(temporary.iter().all(|call| call.path == calls[0].path), "{temporary:?}");
    assert_eq!(calls[0].path.parent(), Some(folder.path()));
    assert!(is_temporary_name(calls[0].path.file_name().unwrap().to_str().unwrap()));
    assert_eq!((last[0].path.as_path(), last[1].path.as_path()), (path.as_path(), folder.path()));
    assert!(operations.iter().filter(|operation| **operation == Write).count() >= 3, "{operations:?}");
    operations.dedup();
    assert_eq!(operations, [CreateNew, Write, Sync, Rename, SyncFolder]);
    let mut operations: Vec<_> = calls_of(create).iter().map(|call| call.operation).collect();
    operations.dedup();
    assert_eq!(operations, [CreateNew, Write, Sync, Link, Remove, SyncFolder]);
}

#[test]
fn a_fault_at_any_call_leaves_the_old_file_or_the_new_one() {
    let calls = calls_of(replace);
    let placed = calls.iter().position(|call| call.operation == Operation::Rename).unwrap() + 1;
    for call in 1..=calls.len() {
        for (fault, onwards) in Fault::ALL.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
            let case = format!("{:?}, {fault:?}, onwards {onwards}", calls[call - 1]);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            fs::write(&path, "old").unwrap();
            let result = replace(&Faulty::new(FaultPlan { call, onwards, fault }), &path);
            let is_new = call > placed || fault == Fault::ShortWrite;
            let expected = if is_new { content() } else { b"old".to_vec() };
            assert!(fs::read(&path).unwrap() == expected, "{case}");
            if fault == Fault::ShortWrite {
                result.unwrap();
            } else {
                let message = result.unwrap_err().to_string();
                assert!(
                    message.starts_with("cannot ") && message.contains(folder.path().to_str().unwrap()),
                    "{message}"
                );
            }
            // Nothing can be removed from a disk that stays read-only; a later run does it.
            let stays = fault == Fault::ReadOnly && onwards && call > 1 && !is_new;
            assert_eq!(names_in(folder.path()).len(), if stays { 2 } else { 1 }, "{case}");
            assert_eq!(remove_stale(&Disk, folder.path()).unwrap(), usize::from(stays), "{case}");
            assert_eq!(names_in(folder.path()), ["file"], "{case}");
        }
    }
}

#[test]
fn a_fault_at_any_call_leaves_no_new_file_or_a_whole_one() {
    let calls = calls_of(create);
    let placed = calls.iter().position(|call| call.operation == Operation::Link).unwrap() + 1;
    for call in 1..=calls.len() {
        for fault in Fault::ALL {
            let case = format!("{:?}, {fault:?}", calls[call - 1]);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let result = create(&Faulty::new(FaultPlan { call, onwards: false, fault }), &path);
            assert_eq!(result.is_ok(), fault == Fault::ShortWrite, "{case}");
            let is_there = call > placed || fault == Fault::ShortWrite;
            assert_eq!(names_in(folder.path()).len(), usize::from(is_there), "{case}");
            assert!(!is_there || fs::read(&path).unwrap() == content(), "{case}");
        }
    }
}

#[test]
fn a_file_that_is_there_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "mine").unwrap();
    let message = create(&Disk, &path).unwrap_err().to_string();
    assert!(message.contains("file already exists; choose another name"), "{message}");
    // A file that appears while the content is being made.
    let late = folder.path().join("late");
    let result = write_new(&Disk, &late, |out| {
        fs::write(&late, "mine")?;
        fill(out)
    });
    assert!(result.unwrap_err().to_string().contains("late already exists"));
    for path in [&path, &late] {
        assert_eq!(fs::read(path).unwrap(), b"mine");
    }
    let folder_in_the_way = folder.path().join("folder");
    fs::create_dir(&folder_in_the_way).unwrap();
    create(&Disk, &folder_in_the_way).unwrap_err();
    replace(&Disk, &folder_in_the_way).unwrap_err();
    assert_eq!(names_in(folder.path()).len(), 3);
}

#[test]
fn an_error_of_the_content_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let fails = |out: &mut dyn Write| {
        out.write_all(b"half of")?;
        Err(io::Error::other("no more"))
    };
    let message = write_atomically(&Disk, &path, fails).unwrap_err().to_string();
    assert!(message.ends_with("file: no more"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names_in(folder.path()), ["file"]);
}

/// Not a test by itself: the process that dies at one call in the test below.
#[test]
fn child_dies_while_writing() {
    if let Some(argument) = Child::argument() {
        let (plan, path) = argument.split_once(' ').unwrap();
        let _ = replace(&Faulty::new(plan.parse().unwrap()), Path::new(path));
    }
}

#[test]
fn death_at_any_call_leaves_the_old_file_or_the_new_one() {
    let calls = calls_of(replace);
    for call in 1..=calls.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let argument = format!("{call}:abort {}", path.display());
        let status = Child::start("storage::atomic::tests::child_dies_while_writing", argument).status();
        assert!(!status.success(), "call {call}: the child died");
        let is_new = calls[call - 1].operation == Operation::SyncFolder;
        assert!(fs::read(&path).unwrap() == if is_new { content() } else { b"old".to_vec() }, "call {call}");
        let leaves = call > 1 && !is_new;
        assert_eq!(remove_stale(&Disk, folder.path()).unwrap(), usize::from(leaves), "call {call}");
        assert_eq!(names_in(folder.path()), ["file"]);
    }
}

#[test]
fn only_stale_temporary_files_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let others = [
        ".hidden",
        ".a.tmp",
        "a.1-2.tmp",
        "..1-2.tmp",
        ".a.1-.tmp",
        ".a.1-x.tmp",
        ".a.-1-2.tmp",
        "model.safetensors",
    ];
    for name in others {
        fs::write(folder.path().join(name), "").unwrap();
    }
    fs::create_dir(folder.path().join(".folder.1-2.tmp")).unwrap();
    fs::write(folder.path().join(".model.safetensors.1-2.tmp"), "").unwrap();
    write_atomically(&Disk, &path, |out| {
        assert_eq!(remove_stale(&Disk, folder.path()).unwrap(), 1, "not the one that is being written");
        fill(out)
    })
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), content());
    assert_eq!(names_in(folder.path()).len(), others.len() + 2);
}

#[test]
fn many_writers_of_one_name_leave_one_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::thread::scope(|scope| {
        for byte in 0..4u8 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..10 {
                    write_atomically(&Disk, path, |out| out.write_all(&[byte; BLOCK])).unwrap();
                }
            });
        }
    });
    let found = fs::read(&path).unwrap();
    assert!(found.len() == BLOCK && found.iter().all(|byte| *byte == found[0]));
    assert_eq!(names_in(folder.path()), ["file"]);
}

#[test]
fn folders_are_created_and_synced_from_the_top() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("a/b"));
    let fs = Faulty::recording();
    create_folder(&fs, &b).unwrap();
    let calls: Vec<_> = fs.calls().into_iter().map(|call| (call.operation, call.path)).collect();
    let root = folder.path().to_path_buf();
    use Operation::{CreateFolder, SyncFolder};
    assert_eq!(
        calls,
        [(CreateFolder, a.clone()), (SyncFolder, root), (CreateFolder, b.clone()), (SyncFolder, a)]
    );
    create_folder(&Disk, &b).unwrap();
    create_folder(&Disk, Path::new("")).unwrap();
    fs::write(b.join("file"), "").unwrap();
    let message = create_folder(&Disk, &b.join("file/c")).unwrap_err().to_string();
    assert!(message.contains("is a file, and a folder is needed"), "{message}");
    assert!(write_atomically(&Disk, Path::new("/"), fill).unwrap_err().to_string().contains("names no file"));
}

/// A file system like FAT, where a file has one name.
struct NoLinks;

impl FileSystem for NoLinks {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        Disk.create_new(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        Disk.open_append(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        Disk.create_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        Disk.sync_folder(path)
    }
}

#[test]
fn new_files_are_written_where_there_are_no_links() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    create(&NoLinks, &path).unwrap();
    assert!(fs::read(&path).unwrap() == content());
    assert!(create(&NoLinks, &path).is_err());
    assert_eq!(names_in(folder.path()), ["file"]);
}

/// Not a test by itself: the process in the test below, which runs in a small file system of its own.
#[test]
fn child_fills_a_disk() {
    let Some(folder) = Child::argument() else { return };
    let path = Path::new(&folder).join("file");
    let full = (1..100).find_map(|size| {
        let error =
            write_atomically(&Disk, &path, |out| out.write_all(&vec![size; size as usize * BLOCK])).err()?;
        Some((size, error.to_string()))
    });
    let (size, message) = full.expect("1 MB is full before 6 MB");
    assert!(size > 4 && message.contains("No space left"), "size {size}: {message}");
    let last = size - 1;
    assert!(fs::read(&path).unwrap() == vec![last; last as usize * BLOCK]);
    assert_eq!(names_in(Path::new(&folder)), ["file"]);
}

/// A disk that is really full: a file system of 1 MB, mounted for one process, if the system allows that.
#[cfg(target_os = "linux")]
#[test]
fn a_real_full_disk_leaves_the_last_good_file() {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=1M elbo {}", folder.path().display());
    let can_mount = Child::in_own_mounts(&mount).status().is_ok_and(|status| status.success());
    if !can_mount {
        let may_skip = std::env::var_os("ELBO_TESTS_MAY_SKIP").is_some();
        assert!(
            may_skip,
            "no file system can be mounted here; set ELBO_TESTS_MAY_SKIP=1 to run the tests without this case"
        );
        return;
    }
    let program = std::env::current_exe().unwrap();
    let test = "storage::atomic::tests::child_fills_a_disk --exact";
    let output = Child::in_own_mounts(&format!("{mount} && exec {} {test}", program.display()))
        .env(Child::ARGUMENT, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing was mounted for this process");
}

/// Not a test by itself: the process whose system calls the test below traces.
#[test]
fn child_replaces_a_file() {
    if let Some(path) = Child::argument() {
        replace(&Disk, Path::new(&path)).unwrap();
    }
}

/// The order once more, below [`Disk`]: the calls that reach the kernel, if strace is installed.
#[cfg(target_os = "linux")]
#[test]
fn the_system_calls_are_in_the_order_that_is_promised() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("file"), folder.path().join("log"));
    let traced = std::process::Command::new("strace")
        .args(["-f", "-y", "-s", "0", "-e", "trace=write,fsync,rename,renameat,renameat2", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["storage::atomic::tests::child_replaces_a_file", "--exact"])
        .env(Child::ARGUMENT, &path)
        .output();
    if !traced.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no strace, or it may not trace");
        return;
    }
    // Lines like `123 fsync(3</tmp/x/.file.123-0.tmp>) = 0`; only those that name something in the folder
    // count.
    let log = fs::read_to_string(log).unwrap();
    let inside = log.lines().filter(|line| line.contains(folder.path().to_str().unwrap()));
    let mut calls: Vec<String> = inside
        .map(|line| {
            let call = line.split_once(' ').unwrap().1.trim_start().split('(').next().unwrap();
            let on = if line.contains("/.file.") { "temporary" } else { "folder" };
            format!("{} {on}", call.trim_end_matches("at2").trim_end_matches("at"))
        })
        .collect();
    calls.dedup();
    assert_eq!(calls, ["write temporary", "fsync temporary", "rename temporary", "fsync folder"], "{log}");
}
