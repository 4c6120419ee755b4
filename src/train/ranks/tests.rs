use super::*;
use std::sync::atomic::AtomicBool;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use crate::data::Dataset;
use crate::train::follow::follow;
use crate::train::run::Outcome;
use crate::train::tests::pictures;
use crate::train::{Config, Leader, Run, TrainOptions, Trainer};

/// The barrier at which the threads of a test exchange data.
#[derive(Debug)]
struct Meeting {
    barrier: Barrier,
    slots: Mutex<Vec<Vec<u8>>>,
}

/// A rank that is a thread.
#[derive(Clone, Debug)]
struct Thread {
    rank: usize,
    count: usize,
    meeting: Arc<Meeting>,
}

impl Thread {
    fn team(count: usize) -> Vec<Self> {
        let meeting =
            Arc::new(Meeting { barrier: Barrier::new(count), slots: Mutex::new(vec![Vec::new(); count]) });
        (0..count).map(|rank| Self { rank, count, meeting: meeting.clone() }).collect()
    }

    /// Every thread's bytes, for all.
    fn all(&self, own: Vec<u8>) -> Vec<Vec<u8>> {
        self.meeting.slots.lock().unwrap()[self.rank] = own;
        self.meeting.barrier.wait();
        let all = self.meeting.slots.lock().unwrap().clone();
        self.meeting.barrier.wait();
        all
    }

    fn floats(&self, own: &[f32]) -> Vec<Vec<f32>> {
        let all = self.all(own.iter().flat_map(|value| value.to_le_bytes()).collect());
        let floats = |bytes: &Vec<u8>| bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        all.iter().map(floats).collect()
    }
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn gather(&self, own: &[f64]) -> Vec<f64> {
        let all = self.all(own.iter().flat_map(|value| value.to_le_bytes()).collect());
        all.iter().flat_map(|bytes| bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b))).collect()
    }

    fn exchange(&self, values: &[f32], cuts: &[usize], pieces: &mut [f32]) {
        let own = cuts[self.rank]..cuts[self.rank + 1];
        let all: Vec<f32> =
            self.floats(values).iter().flat_map(|values| values[own.clone()].to_vec()).collect();
        pieces.copy_from_slice(&all);
        // Its own place is not filled by every kind of ranks.
        pieces.chunks_mut(own.len()).skip(self.rank).take(1).for_each(|piece| piece.fill(f32::NAN));
    }

    fn collect(&self, cuts: &[usize], values: &mut [f32]) {
        let own = values[cuts[self.rank]..cuts[self.rank + 1]].to_vec();
        for (rank, piece) in self.floats(&own).iter().enumerate() {
            values[cuts[rank]..cuts[rank + 1]].copy_from_slice(piece);
        }
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        *bytes = self.all(std::mem::take(bytes)).swap_remove(0);
    }

    fn abort(&self) {
        panic!("rank {} ends all", self.rank);
    }
}

/// Runs `work` on each of `count` ranks; returns the results in order.
fn on_ranks<R: Send>(count: usize, work: impl Fn(Arc<dyn Ranks>) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            Thread::team(count).into_iter().map(|rank| scope.spawn(move || work(Arc::new(rank)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn options(text: &str) -> Config {
    let text = format!("data = \"pictures\"\nbatch = 6\nvalid = 6\n{text}");
    Config::new(&TrainOptions::parse(&text, "test".as_ref()).unwrap()).unwrap()
}

/// 46 pictures, in three classes: six steps of six and one of four.
fn data() -> Dataset {
    let mut data = pictures(46, (8, 8, 1));
    data.labels = Some(crate::data::Labels {
        ids: (0..46).map(|image| image % 3).collect(),
        names: ["a", "b", "c"].map(String::from).to_vec(),
    });
    data
}

#[test]
fn shares_are_the_batch() {
    for (images, count) in (1..40).flat_map(|images| (1..7).map(move |count| (images, count))) {
        let shares: Vec<Share> = (0..count).map(|rank| Share::new(images, rank, count)).collect();
        let mut next = 0;
        for share in shares.iter().filter(|share| share.weight > 0) {
            assert_eq!((share.range.start, share.range.len()), (next, share.weight));
            next = share.range.end;
        }
        assert_eq!(next, images);
        assert!(
            shares.iter().all(|share| !share.range.is_empty() && share.range.len() <= images.div_ceil(count))
        );
    }
}

#[test]
fn sums_and_means_are_those_of_the_batch() {
    // Five images on three ranks; each number of image i is i + 1, or in the second half 10 times that.
    let found = on_ranks(3, |ranks| {
        let mut team = Team::new(ranks.clone());
        let share = team.share(5);
        let mean = share.range.clone().map(|image| image as f32 + 1.0).sum::<f32>() / share.weight as f32;
        let mut gradient: Vec<f32> = (0..20).map(|at| if at < 10 { mean } else { 10.0 * mean }).collect();
        team.sum(5, &mut gradient);
        // Now only its part is the sum.
        let part = team.part(0..20);
        let total = team.total(gradient[part.clone()].iter().map(|&value| f64::from(value)).sum());
        gradient.iter_mut().enumerate().for_each(|(at, value)| {
            if !part.contains(&at) {
                *value = f32::NAN;
            }
        });
        team.collect(&mut gradient);
        let mut values = [f64::from(mean), 1.0];
        ranks.mean(share.weight, &mut values);
        let mut rows: Vec<f32> = vec![-1.0; 10];
        share.range.for_each(|row| rows[2 * row..2 * row + 2].fill(row as f32));
        team.complete(&mut rows, 5);
        let differing = (team.differing(7), team.differing(u64::MAX - (ranks.rank() as u64 / 2)));
        let any = team.any([ranks.rank() == 1, false]);
        (gradient, total, values, rows, differing, any)
    });
    for (gradient, total, values, rows, differing, any) in &found {
        assert!((total - 330.0).abs() < 1e-3, "{total}");
        assert!(gradient[..10].iter().all(|value| (value - 3.0).abs() < 1e-6), "{gradient:?}");
        assert!(gradient[10..].iter().all(|value| (value - 30.0).abs() < 1e-5), "{gradient:?}");
        assert!((values[0] - 3.0).abs() < 1e-12 && values[1] == 1.0, "{values:?}");
        assert_eq!(*rows, [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
        assert_eq!((*differing, *any), ((None, Some(2)), [true, false]));
    }
    assert!(found.iter().all(|(gradient, ..)| *gradient == found[0].0));
}

/// Networks, schedules and terms that differ in how a step's gradient is made.
const VARIANTS: [&str; 10] = [
    "preset = \"conv\"\nchannels = [4, 8]\nhidden = [16]\nlatent = 3",
    "preset = \"mlp\"\nhidden = [24]\nlatent = 2\nfree-bits = 0.05",
    "preset = \"mlp\"\nhidden = [24]\nlatent = 2\ncapacity = 3.0",
    "preset = \"mlp\"\nhidden = [24]\nlatent = 2\nlikelihood = \"optimal-gaussian\"",
    "preset = \"mlp\"\nhidden = [24]\nlatent = 2\nschedule = \"alternating\"\nlikelihood = \"optimal-gaussian\"",
    "preset = \"conv\"\nchannels = [4]\nhidden = [16]\ntie-weights = true\nbinarize = \"dynamic\"",
    "preset = \"conv\"\nchannels = [4]\nhidden = [16]\nconditional = true\naugment = \"flip,shift\"",
    "preset = \"mlp\"\nhidden = [24]\nlatent = 2\nlabelled = 3",
    "preset = \"residual\"\nchannels = [4, 8]\nlatent = 3\nclip-norm = 1.0",
    "preset = \"article\"\nlatent = 3\nschedule = \"alternating\"\nclip-norm = 1.0\nweight-average = 0.5",
];

#[test]
fn several_ranks_take_the_step_of_one() {
    for text in VARIANTS {
        let new = || Trainer::new(options(text), data()).unwrap();
        let mut alone = new();
        let reports: Vec<_> = (0..7).map(|_| alone.step().unwrap()).collect();
        let mut first = new();
        first.step().unwrap();
        let gradient =
            |t: &Trainer| t.adam.iter().flat_map(|state| state.first.clone()).collect::<Vec<f32>>();
        // The average after the first step is the parameters.
        assert!(first.average.is_empty() || first.average == first.model.parameters);
        let wanted = gradient(&first);
        let largest = wanted.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        // Of five ranks one has no image in the epoch's last batch.
        for count in [2, 3, 5] {
            let run = || {
                on_ranks(count, |ranks| {
                    let mut trainer = new();
                    trainer.join(ranks).unwrap();
                    let mut reports = vec![trainer.step().unwrap()];
                    trainer.complete();
                    // Adam's first moment after one step is a tenth of the gradient.
                    let moments = gradient(&trainer);
                    assert!(trainer.average.is_empty() || trainer.average == trainer.model.parameters);
                    reports.extend((0..6).map(|_| trainer.step().unwrap()));
                    (moments, reports, trainer.model.parameters)
                })
            };
            let found = run();
            for ((moments, own, parameters), (_, other, same)) in
                found.iter().zip(found.iter().cycle().skip(1))
            {
                assert_eq!((own, parameters), (other, same), "{count} ranks differ: {text}");
                let error = moments.iter().zip(&wanted).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(error <= 2e-6 * largest, "{count} ranks: {error} of {largest}: {text}");
                for (own, alone) in own.iter().zip(&reports) {
                    let close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b.abs().max(1e-3);
                    let (v, w) = (own.values, alone.values);
                    assert!(
                        close(v.loss, w.loss) && close(v.kl, w.kl),
                        "{count} ranks: {v:?}, {w:?}: {text}"
                    );
                    assert!(close(v.variance, w.variance) && close(own.norm, alone.norm), "{text}");
                    assert_eq!((own.images, own.learning_rate), (alone.images, alone.learning_rate));
                }
            }
            if count == 3 {
                assert_eq!(run()[0].2, found[0].2, "{count} ranks twice: {text}");
            }
        }
    }
}

#[test]
fn more_ranks_than_images_are_refused() {
    let errors =
        on_ranks(7, |ranks| Trainer::new(options(VARIANTS[1]), data()).unwrap().join(ranks).unwrap_err());
    assert!(errors[0].to_string().contains("7 processes cannot share batches of 6 images"), "{}", errors[0]);
}

/// A run on `count` ranks; `resumed` continues the one in the folder. Returns the outcome of rank 0 and those
/// of the others.
fn train(
    folder: &std::path::Path,
    count: usize,
    config: Option<Config>,
    epochs: u64,
    stop: bool,
) -> Vec<Option<Outcome>> {
    let stop = AtomicBool::new(stop);
    on_ranks(count, |ranks| {
        if ranks.rank() > 0 {
            return follow(ranks, &AtomicBool::new(false), |_| Ok(data())).unwrap();
        }
        let leader = Leader::new(ranks);
        let mut run = match &config {
            Some(config) => Run::start(folder, config.clone(), data()).unwrap(),
            None => {
                let mut options = TrainOptions::default();
                options.model.epochs = Some(epochs);
                Run::resume(folder, options, |_| Ok(data())).unwrap()
            }
        };
        leader.begin(&mut run).unwrap();
        Some(run.train(&stop, &mut ()).unwrap())
    })
}

fn results(folder: &std::path::Path) -> [Vec<u8>; 2] {
    ["model.safetensors", "checkpoint.safetensors"].map(|name| std::fs::read(folder.join(name)).unwrap())
}

#[test]
fn a_run_is_stopped_and_resumed_by_all_ranks() {
    for text in
        [VARIANTS[3], "preset = \"mlp\"\nhidden = [24]\nschedule = \"alternating\"\nweight-average = 0.9"]
    {
        is_stopped_and_resumed(Config { threads: 1, ..options(&format!("{text}\nepochs = 2")) });
    }
}

fn is_stopped_and_resumed(config: Config) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = |name: &str| temporary.path().join(name);
    let outcome = |found: &[Option<Outcome>], wanted| {
        assert!(found.iter().all(|one| *one == Some(wanted)), "{found:?}")
    };
    // A checkpoint is due after every step.
    let often = Config { checkpoint_every: Duration::ZERO, ..config.clone() };
    outcome(&train(&folder("whole"), 2, Some(often), 2, false), Outcome::Finished);
    // Stopped after one step, and continued by as many.
    outcome(&train(&folder("parts"), 2, Some(config.clone()), 2, true), Outcome::Interrupted);
    outcome(&train(&folder("parts"), 2, None, 2, false), Outcome::Finished);
    assert_eq!(results(&folder("whole")), results(&folder("parts")));
    // With more ranks and with one: another number rounds differently, and two runs of the same number are
    // bit-identical.
    for count in [3, 1] {
        for name in ["other", "again"] {
            let name = format!("{name}-{count}");
            train(&folder(&name), 2, Some(config.clone()), 2, true);
            outcome(&train(&folder(&name), count, None, 2, false), Outcome::Finished);
        }
        let [other, again] = ["other", "again"].map(|name| results(&folder(&format!("{name}-{count}"))));
        assert_eq!(other, again);
        assert_ne!(other, results(&folder("whole")));
    }
}

#[test]
fn who_cannot_begin_ends_all() {
    let temporary = tempfile::tempdir().unwrap();
    let config = options(VARIANTS[1]);
    // Rank 0 has no run to lead.
    let ended = on_ranks(3, |ranks| match ranks.rank() {
        0 => drop(Leader::new(ranks)),
        _ => assert_eq!(follow(ranks, &AtomicBool::new(false), |_| Ok(data())).unwrap(), None),
    });
    assert_eq!(ended.len(), 3);
    // Another one cannot read the images, or reads others.
    let unreadable = || Err(Error::config("unreadable"));
    let others = || Ok(pictures(45, (8, 8, 1)));
    for (number, load) in
        [&unreadable as &(dyn Fn() -> Result<Dataset> + Sync), &others].into_iter().enumerate()
    {
        let messages = on_ranks(3, |ranks| {
            let rank = ranks.rank();
            if rank > 0 {
                let load = |_: &Config| if rank == 2 { load() } else { Ok(data()) };
                return follow(ranks, &AtomicBool::new(false), load)
                    .map_or_else(|e| e.to_string(), |_| String::new());
            }
            let folder = temporary.path().join(format!("run-{number}"));
            let mut run = Run::start(&folder, config.clone(), data()).unwrap();
            Leader::new(ranks).begin(&mut run).unwrap_err().to_string()
        });
        let wanted = [
            ["another process of this run failed; its message says why", "", "unreadable"],
            [
                "memory: the images or labels that rank 2 reads there are not those of rank 0; all need the same",
                "",
                "",
            ],
        ];
        assert_eq!(messages, wanted[number]);
    }
}

#[test]
fn an_error_of_one_rank_ends_all() {
    let ended = on_ranks(3, |ranks| {
        let own = if ranks.rank() == 0 { Err(Error::config("no space left")) } else { Ok(()) };
        Team::new(ranks).agree(false, own).unwrap_err().to_string()
    });
    assert!(
        ended[0] == "no space left" && ended[1..].iter().all(|text| text.starts_with("another process")),
        "{ended:?}"
    );
}
