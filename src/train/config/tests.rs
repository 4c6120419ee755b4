use super::*;

fn refused(text: &str) -> String {
    let options = TrainOptions::parse(text, "c.toml".as_ref()).unwrap();
    Config::new(&options).unwrap_err().to_string()
}

#[test]
fn a_complete_config_repeats_itself() {
    let text = "preset = \"conv\"\nlikelihood = \"laplace\"\nscale = 0.2\nbeta = 4.0\nbeta-warmup = 2.0\nsize = \"48x64\"\n\
                rgb = true\nbackground = \"#102030\"\nbinarize = \"static\"\non-spike = \"skip\"\nmax-memory = \"2GiB\"\n\
                checkpoint-every = \"0.1s\"\nrange = \"-3,5.5\"\nlayout = \"nchw\"\npatience = 3\nvalid = 9\nbatch = 7\n\
                capacity = 25.0\nconditional = true\ndata = \"x\"\nmax-steps = 9\nprecision = \"bf16\"\nfit = \"pad\"\narray = \"images\"\naugment = \"flip,shift\"";
    let config = Config::new(&TrainOptions::parse(text, "c".as_ref()).unwrap()).unwrap();
    let written = config.to_options().to_toml();
    let again = Config::new(&TrainOptions::parse(&written, "c".as_ref()).unwrap()).unwrap();
    assert_eq!(again, config);
    assert_eq!((config.objective(1.0).terms.beta, config.objective(2.0).terms.beta), (2.0, 4.0));
    assert_eq!(config.objective(5.0).terms.capacity, Some(12.5));
}

#[test]
fn few_images_get_as_many_steps_as_it_takes() {
    let settled = |text: &str, images: usize| {
        let options = TrainOptions::parse(&format!("data = \"x\"\n{text}"), "c".as_ref()).unwrap();
        let mut config = Config::new(&options).unwrap();
        config.settle(images).unwrap();
        (config.batch.unwrap(), config.epochs())
    };
    // MNIST's 55,000, all of its images, and as many as make a thousand steps in ten epochs: as always.
    for images in [60_000, 55_000, 12_700] {
        assert_eq!(settled("", images), (128, 10), "{images}");
    }
    // 300 photos without those that are held out; a folder of ten; one.
    assert_eq!(settled("", 270), (16, 59));
    assert_eq!(settled("", 9), (4, 200));
    assert_eq!(settled("", 1), (1, 200));
    for images in 20..12_800 {
        let (batch, epochs) = settled("", images);
        let steps = images.div_ceil(batch) as u64;
        assert!(batch == 4 || steps >= 10, "{images}");
        assert!((1000..2000).contains(&(epochs * steps)) || epochs == 200, "{images}: {epochs} of {steps}");
    }
    // What is given stays, and the rest fits it.
    assert_eq!(settled("epochs = 3", 270), (128, 3));
    assert_eq!(settled("batch = 90", 270), (90, 200));
    assert_eq!(settled("max-steps = 9", 270), (128, 10));
    assert_eq!(settled("max-steps = 500", 270), (128, 167));
    // A warm-up is compared with the epochs that were chosen.
    assert_eq!(settled("lr-warmup = 20.0", 270), (16, 59));
    let options = TrainOptions::parse("data = \"x\"\nlr-warmup = 20.0", "c".as_ref()).unwrap();
    let error = Config::new(&options).unwrap().settle(60_000).unwrap_err().to_string();
    assert!(error.contains("longer than the run's 10"), "{error}");
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    for (text, expected) in [
        ("preset = \"cnov\"", "did you mean conv?"),
        ("likelihood = \"gausian\"", "did you mean gaussian?"),
        ("lr = nan", "positive number"),
        ("lr = -1.0", "positive number"),
        ("latent = 0", "latent size is 0"),
        ("batch = 0", "at least 1"),
        ("beta = -1.0", "beta"),
        ("sigma = 0.2", "--sigma is for the gaussian"),
        ("components = 2", "--components is for the logistic-mixture likelihood, and this is bernoulli"),
        ("likelihood = \"logistic-mixture\"\ncomponents = 33", "from 1 to 32 components, not 33"),
        ("likelihood = \"logistic-mixture\"\ncomponents = 0", "from 1 to 32 components, not 0"),
        ("likelihood = \"gaussian\"\nsigma = 0.0", "positive"),
        ("context-inputs = \"differences\"", "--context-inputs is for a model with --context"),
        (
            "context = 8\ncontext-inputs = \"differences\"\nlikelihood = \"beta-binomial\"",
            "needs a likelihood with means",
        ),
        ("schedule = \"alternating\"\ntie-weights = true", "use either"),
        ("conditional = true\ntie-weights = true", "use either"),
        ("patience = 2\nvalid = 0", "holds out none"),
        ("checkpoint-every = \"5\"", "invalid duration"),
        ("checkpoint-every = \"-5s\"", "invalid duration"),
        ("checkpoint-every = \"5µ\"", "invalid duration"),
        ("size = \"0\"", "invalid size"),
        ("background = \"#12345é\"", "invalid colour"),
        ("range = \"1,1\"", "invalid range"),
        ("fit = \"squeeze\"", "(fit is one of crop, pad, stretch)"),
        ("augment = \"blur\"", "accepted are flip, shift and flip,shift"),
        ("max-memory = \"lots\"", "invalid amount of memory"),
        ("grey = true\nrgb = true", "exclude"),
        ("epochs = 10\nlr-warmup = 20.0", "20 epochs is longer than the run's 10"),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_context_sees_differences_in_colour() {
    let inputs = |text: &str, channels: usize| {
        let text = format!("data = \"x\"\ncontext = 8\n{text}");
        let options = TrainOptions::parse(&text, "c".as_ref()).unwrap();
        let config = Config::new(&options).unwrap();
        let again = Config::new(&config.to_options()).unwrap();
        assert_eq!(again, config);
        config.model(ImageShape::new(9, 8, channels)).context_inputs
    };
    let (values, differences) = (ContextInputs::Values, ContextInputs::Differences);
    assert_eq!(inputs("likelihood = \"logistic-mixture\"", 1), values);
    assert_eq!(inputs("likelihood = \"logistic-mixture\"", 3), differences);
    assert_eq!(inputs("likelihood = \"beta-binomial\"", 3), values);
    let asked = |inputs: ContextInputs| {
        format!("context-inputs = \"{inputs}\"\nlikelihood = \"discretized-logistic\"")
    };
    assert_eq!(inputs(&asked(differences), 1), differences);
    assert_eq!(inputs(&asked(values), 3), values);
}
