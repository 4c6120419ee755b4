use super::*;
use crate::storage::faults::{Fault, FaultPlan, Faulty};
use crate::storage::filesystem::Disk;

const COLUMNS: [&str; 3] = ["epoch", "step", "loss"];
const HEADER: &str = "epoch,step,loss\n";

fn resumed(content: impl AsRef<[u8]>, step: u64) -> (String, Repair) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    std::fs::write(&path, content).unwrap();
    let (journal, repair) = Journal::resume(&Disk, &path, &COLUMNS, step).unwrap();
    let mended = std::fs::read_to_string(&path).unwrap();
    assert_eq!(journal.length, mended.len() as u64);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    (mended, repair)
}

#[test]
fn rows_are_added_and_a_second_start_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let mut journal = Journal::create(&Disk, &path, &COLUMNS).unwrap();
    journal.append(&["1", "10", "0.5"]).unwrap();
    journal.append(&["1", "20", "nan"]).unwrap();
    journal.sync().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEADER}1,10,0.5\n1,20,nan\n"));
    assert!(Journal::create(&Disk, &path, &COLUMNS).is_err());
}

#[test]
#[should_panic(expected = "row `1,10,0.5` comes after Some(10)")]
fn no_step_is_written_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&Disk, &folder.path().join("metrics.csv"), &COLUMNS).unwrap();
    journal.append(&["1", "10", "0.5"]).unwrap();
    journal.append(&["1", "10", "0.5"]).unwrap();
}

/// A crash at any byte of a row, resumed from any step: only complete rows up to the step remain, and writing
/// the rest again reproduces the table of an uninterrupted run.
#[test]
fn a_cut_at_any_byte_is_mended() {
    let rows: Vec<[String; 3]> =
        (1..=9).map(|i| [1.to_string(), (10 * i).to_string(), format!("0.{i}")]).collect();
    let whole = HEADER.to_string() + &rows.iter().map(|row| line_of(row)).collect::<String>();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    for cut in HEADER.len()..=whole.len() {
        for step in (0..=90).step_by(10) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, repair) = Journal::resume(&Disk, &path, &COLUMNS, step).unwrap();
            let written = whole[HEADER.len()..cut].matches('\n').count();
            let torn = usize::from(!whole[..cut].ends_with('\n'));
            let kept = written.min(step as usize / 10);
            assert_eq!(
                repair,
                Repair { kept, dropped: written - kept, damaged: torn },
                "cut {cut}, step {step}"
            );
            rows[kept..].iter().for_each(|row| journal.append(row).unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "cut {cut}, step {step}");
        }
    }
}

#[test]
fn damage_of_other_kinds_is_dropped() {
    let damaged = |dropped, damaged| Repair { kept: 2, dropped, damaged };
    let expected = format!("{HEADER}1,10,a\n1,20,b\n");
    // Twice, and out of order.
    let content = format!("{HEADER}1,10,a\n1,10,a\n1,20,b\n1,10,a\n");
    assert_eq!(resumed(content, 99), (expected.clone(), damaged(2, 0)));
    // Zeros after a power cut, a row glued to half of another, a wrong number of cells, not a number, not
    // text.
    let content = format!("{HEADER}1,10,a\n1,1,15,c\n1,x,c\n1,16\n\n1,20,b\n\0\0\0\0\0\0");
    assert_eq!(resumed(content, 99), (expected.clone(), damaged(0, 5)));
    let content = [HEADER.as_bytes(), b"1,10,a\n1,11,\xff\n1,20,b\n1,30,\0\n"].concat();
    assert_eq!(resumed(content, 99), (expected.clone(), damaged(0, 2)));
    // Lines longer than any row, with and without an end.
    let long = "1,15,".to_string() + &"9".repeat(200_000);
    assert_eq!(resumed(format!("{HEADER}1,10,a\n{long}\n1,20,b\n{long}"), 99), (expected, damaged(0, 2)));
}

#[test]
fn a_missing_table_is_started_and_a_foreign_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    Journal::resume(&Disk, &path, &COLUMNS, 5).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), HEADER);
    for content in ["", "epoch,step", "step,loss\n1,2\n", "\0\0\0"] {
        std::fs::write(&path, content).unwrap();
        let message = Journal::resume(&Disk, &path, &COLUMNS, 5).err().unwrap().to_string();
        assert!(message.contains("epoch,step,loss"), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
}

/// A fault at each call of a run that writes three rows: after the error, and also after the same row was
/// written once more, the table has only complete rows, none of them twice.
#[test]
fn a_fault_at_any_call_tears_no_row() {
    let rows = [["1", "1", "0.5"], ["1", "2", "0.25"], ["2", "3", "0.125"]];
    let whole = HEADER.to_string() + &rows.iter().map(|row| line_of(row)).collect::<String>();
    for call in 1.. {
        let mut spoiled = false;
        for fault in Fault::ALL {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("metrics.csv");
            let fs = Faulty::new(FaultPlan { call, onwards: false, fault });
            let Ok(mut journal) = Journal::create(&fs, &path, &COLUMNS) else {
                spoiled = true;
                assert!(!path.exists() || std::fs::read_to_string(&path).unwrap() == HEADER);
                continue;
            };
            for (index, row) in rows.iter().enumerate() {
                if let Err(error) = journal.append(row) {
                    spoiled = true;
                    assert!(error.to_string().contains("metrics.csv"), "{error}");
                    let before = HEADER.to_string()
                        + &rows[..index].iter().map(|row| line_of(row)).collect::<String>();
                    assert_eq!(std::fs::read_to_string(&path).unwrap(), before, "call {call}, {fault:?}");
                    journal.append(row).unwrap();
                }
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "call {call}, {fault:?}");
        }
        if !spoiled {
            assert!(call > 9, "create, write, sync, rename, folder, open, three rows: {call}");
            return;
        }
    }
}

#[test]
fn a_row_that_could_not_be_cut_off_is_cut_before_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    // The 7th call is the first row's write, the 8th its removal.
    let fs = Faulty::new(FaultPlan { call: 7, onwards: true, fault: Fault::NoSpace });
    let mut journal = Journal::create(&fs, &path, &COLUMNS).unwrap();
    journal.append(&["1", "1", "0.5"]).unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), HEADER, "a full disk lets a file be cut");
    journal.file = Disk.open_append(&path).unwrap();
    std::fs::write(&path, format!("{HEADER}1,1")).unwrap();
    journal.is_torn = true;
    journal.append(&["1", "1", "0.5"]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEADER}1,1,0.5\n"));
}

#[test]
fn a_fault_while_mending_leaves_the_table_as_it_was() {
    let content = format!("{HEADER}1,1,a\n1,2,b\n1,3,");
    for call in 1..=6 {
        for fault in [Fault::NoSpace, Fault::ReadOnly] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("metrics.csv");
            std::fs::write(&path, &content).unwrap();
            let fs = Faulty::new(FaultPlan { call, onwards: false, fault });
            assert!(Journal::resume(&fs, &path, &COLUMNS, 1).is_err());
            let found = std::fs::read_to_string(&path).unwrap();
            let expected = if call <= 4 { content.clone() } else { format!("{HEADER}1,1,a\n") };
            assert_eq!(found, expected, "call {call}");
        }
    }
}
