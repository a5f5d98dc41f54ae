//! Schedules that compat_vectors.json lacks, the tools' conventions, and names.

use wordbrush::error::Code;
use wordbrush::samplers::{Levels, Request, Sampler, Schedule, Sigmas, Tool};

use super::{golden, numbers, tables};

const PLAIN: Request = Request {
    tool: Tool::ComfyUi,
    sampler: Sampler::Euler,
    schedule: Some(Schedule::Normal),
    steps: 20,
    denoise: 1.0,
    picture: false,
    exact_steps: false,
};

fn levels(request: Request) -> Levels {
    Levels::new(&request, &Sigmas::sd15()).expect("a run")
}

/// The tables are f64 formulas over SD 1.5's f32 levels, the tools' own numbers f32: near σ = 14.6 the tangent of
/// `kl_optimal` multiplies the angle's rounding by 214.
#[test]
fn other_schedules_are_the_tools() {
    let (golden, trained) = (tables(), Sigmas::sd15());
    for (steps, tools) in golden["levels"].as_object().expect("steps") {
        for (name, tool) in [("comfy", Tool::ComfyUi), ("a1111", Tool::A1111)] {
            for (schedule, list) in tools[name].as_object().expect("schedules") {
                let schedule = Schedule::from_name(schedule).expect("a schedule");
                let ours = schedule.levels(&trained, steps.parse().expect("steps"), tool).expect("levels");
                let theirs = numbers(list);
                assert_eq!(ours.len(), theirs.len(), "{name} {} {steps}", schedule.name());
                let off = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() / b.max(1e-9);
                let largest = ours.iter().zip(&theirs).map(off).fold(0.0, f64::max);
                assert!(largest <= 4e-6, "{name} {} {steps}: off by {largest:e}: {ours:?}", schedule.name());
            }
        }
    }
}

#[test]
fn zero_terminal_snr_is_lins() {
    let sigmas = Sigmas::zero_terminal_snr();
    for (t, sigma) in tables()["zero_terminal"].as_object().expect("levels") {
        let (t, sigma): (usize, f64) = (t.parse().expect("a time"), sigma.as_f64().expect("a number"));
        let off = (f64::from(sigmas.table()[t]) - sigma).abs() / sigma;
        // 1 − ᾱ cancels in f32 at the beginning, √ᾱ − √ᾱ₉₉₉ towards the end, as in ComfyUI.
        assert!(off < if t < 950 { 1e-4 } else { 2e-4 }, "time {t}: off by {off:e}");
    }
    assert!((sigmas.max() - 4518.75).abs() < 1.0, "{}", sigmas.max());
    assert!(sigmas.table().windows(2).all(|pair| pair[0] < pair[1]));
}

/// KSampler: a denoise below 1 is the end of a longer schedule (`note_denoise` of the golden file).
#[test]
fn comfyui_denoises_the_end_of_a_longer_schedule() {
    let run = levels(Request { denoise: 0.5, steps: 10, ..PLAIN });
    let whole = Schedule::Normal.sigmas(&Sigmas::sd15(), 20).expect("a schedule");
    assert_eq!(run.sigmas, whole[10..]);
    assert_eq!((run.noise_scale, run.picture_scale, run.final_scale), (whole[10], 1.0, 1.0));
    assert_eq!(run.brownian, (whole[19], whole[10]));
    let full = levels(PLAIN);
    assert_eq!(full.sigmas, whole);
    assert!((full.noise_scale - (1.0 + whole[0] * whole[0]).sqrt()).abs() < 1e-5);
    assert!(golden()["note_denoise"].as_str().expect("a note").contains("full[-(steps+1):]"));
}

/// Which samplers leave out the last level but one, in which tool.
#[test]
fn the_penultimate_level_is_left_out_where_it_is_there() {
    let trained = Sigmas::sd15();
    let longer = Schedule::Karras.sigmas(&trained, 21).expect("a schedule");
    let short = [&longer[..20], &[0.0]].concat();
    let plain = Schedule::Karras.sigmas(&trained, 20).expect("a schedule");
    let sigmas = |tool, sampler| levels(Request { tool, sampler, schedule: Some(Schedule::Karras), ..PLAIN }).sigmas;
    for sampler in [Sampler::Dpm2, Sampler::Dpm2Ancestral] {
        assert_eq!(sigmas(Tool::ComfyUi, sampler), short);
        assert_eq!(sigmas(Tool::A1111, sampler), short);
    }
    assert_eq!(sigmas(Tool::ComfyUi, Sampler::UniPc), short);
    assert_eq!(sigmas(Tool::ComfyUi, Sampler::UniPcBh2), short);
    assert_eq!(sigmas(Tool::ComfyUi, Sampler::Dpmpp3mSde), plain);
    assert_eq!(sigmas(Tool::A1111, Sampler::Dpmpp3mSde), short);
    assert_eq!(sigmas(Tool::A1111, Sampler::Dpmpp2m), plain);
}

/// A1111 runs ⌊denoise · steps⌋ + 1 steps of the whole schedule over a picture, and of noise takes σ, not √(1 + σ²).
#[test]
fn a1111_denoises_fewer_steps() {
    let whole = Schedule::Normal.sigmas(&Sigmas::sd15(), 20).expect("a schedule");
    let request = Request { tool: Tool::A1111, denoise: 0.5, picture: true, ..PLAIN };
    let run = levels(request);
    assert_eq!(run.sigmas, whole[9..]);
    assert_eq!((run.noise_scale, run.brownian), (whole[9], (whole[19], whole[0])));
    assert_eq!(levels(Request { denoise: 1.0, ..request }).sigmas, whole);
    let exact = levels(Request { exact_steps: true, steps: 10, ..request });
    assert_eq!(exact.sigmas, whole[10..]);
    let text = levels(Request { picture: false, denoise: 1.0, ..request });
    assert_eq!((text.sigmas, text.noise_scale), (whole.clone(), whole[0]));
}

/// DDIM and PLMS of A1111: from time step 951 to 1, nineteen steps for twenty, on latents of unit variance.
#[test]
fn a1111s_ddim_has_its_own_times() {
    let trained = Sigmas::sd15();
    let at = |t: usize| trained.table()[t];
    for sampler in [Sampler::Ddim, Sampler::Plms] {
        let run = levels(Request { tool: Tool::A1111, sampler, ..PLAIN });
        assert_eq!((run.sigmas.len(), run.sigmas[0], run.sigmas[19]), (20, at(951), at(1)));
        assert!((run.noise_scale - (1.0 + at(951) * at(951)).sqrt()).abs() < 1e-5);
        assert!((run.final_scale - 1.0 / (1.0 + at(1) * at(1)).sqrt()).abs() < 1e-6);
        // Over a picture the noise is that of the time step above the first that is denoised.
        let picture = levels(Request { tool: Tool::A1111, sampler, denoise: 0.5, picture: true, ..PLAIN });
        assert_eq!((picture.sigmas.len(), picture.sigmas[0]), (10, at(451)));
        let share = ((1.0 + at(451) * at(451)) / (1.0 + at(501) * at(501))).sqrt();
        assert!((picture.picture_scale - share).abs() < 1e-6);
        assert!((picture.noise_scale - share * at(501)).abs() < 1e-5);
    }
}

/// UniPC's own levels, by numpy.
#[test]
fn a1111s_unipc_has_its_own_times() {
    let golden = tables();
    let request = Request { tool: Tool::A1111, sampler: Sampler::UniPc, ..PLAIN };
    let text = |steps| levels(Request { steps, ..request }).sigmas;
    let picture = levels(Request { denoise: 0.5, picture: true, ..request }).sigmas;
    for (name, ours) in [("20", text(20)), ("7", text(7)), ("10 from 451", picture)] {
        // 1000 // 7 = 142 makes eight time steps of seven.
        let theirs = numbers(&golden["equal_times"][name]);
        if name == "7" {
            assert_eq!(ours.len(), theirs.len() + 1);
            continue;
        }
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let off = ours.iter().zip(&theirs).map(|(a, b)| (f64::from(*a) - b).abs() / b).fold(0.0, f64::max);
        assert!(off < 2e-6, "{name}: off by {off:e}");
    }
}

/// LCM of A1111 visits levels of its training; with fifty steps, all of them.
#[test]
fn a1111s_lcm_has_its_own_levels() {
    let trained = Sigmas::sd15();
    let request = Request { tool: Tool::A1111, sampler: Sampler::Lcm, schedule: None, steps: 50, ..PLAIN };
    let all = levels(request).sigmas;
    for (i, sigma) in all[..50].iter().enumerate() {
        let expected = trained.table()[999 - 20 * i];
        assert!((sigma - expected).abs() <= 1e-5 * expected, "level {i}: {sigma} instead of {expected}");
    }
    let one = levels(Request { steps: 1, ..request }).sigmas;
    assert!((one[0] - trained.max()).abs() < 1e-4 && one[1] == 0.0 && one.len() == 2, "{one:?}");
    assert_eq!(trained.time(one[0], Tool::A1111).round() as usize, trained.time(one[0], Tool::ComfyUi) as usize);
}

#[test]
fn impossible_runs_are_refused() {
    let refused = |request: Request| Levels::new(&request, &Sigmas::sd15()).expect_err("no run").code;
    for denoise in [0.0, -1.0, 1.5, f64::NAN] {
        assert_eq!(refused(Request { denoise, ..PLAIN }), Code::BadOption);
    }
    assert_eq!(refused(Request { steps: 0, ..PLAIN }), Code::BadOption);
    assert_eq!(refused(Request { steps: 900, denoise: 0.5, ..PLAIN }), Code::BadOption);
    assert_eq!(refused(Request { schedule: Some(Schedule::Turbo), steps: 11, ..PLAIN }), Code::BadOption);
    // A1111's DDIM takes a step less than it is told.
    assert_eq!(refused(Request { tool: Tool::A1111, sampler: Sampler::Ddim, steps: 1, ..PLAIN }), Code::BadOption);
    let tiny = Request { tool: Tool::A1111, sampler: Sampler::Plms, denoise: 0.01, picture: true, ..PLAIN };
    assert_eq!(refused(tiny), Code::BadOption);
}

/// Every run that is not refused has falling levels.
#[test]
fn every_run_falls() {
    let trained = Sigmas::sd15();
    for tool in [Tool::ComfyUi, Tool::A1111] {
        for sampler in Sampler::ALL {
            for schedule in Schedule::ALL.map(Some).into_iter().chain([None]) {
                for (steps, denoise, picture) in [(1, 1.0, false), (2, 1.0, false), (7, 0.3, true), (20, 0.75, true)] {
                    let request = Request { tool, sampler, schedule, steps, denoise, picture, exact_steps: false };
                    let Ok(run) = Levels::new(&request, &trained) else { continue };
                    assert!(run.sigmas.len() > 1 && run.sigmas.windows(2).all(|p| p[0] > p[1]), "{request:?}: {run:?}");
                    assert!(run.brownian.0 > 0.0 && run.brownian.0 <= run.brownian.1, "{request:?}: {run:?}");
                    let scales = [run.noise_scale, run.picture_scale, run.final_scale];
                    assert!(scales.iter().all(|scale| scale.is_finite() && *scale > 0.0), "{request:?}: {run:?}");
                }
            }
        }
    }
}

#[test]
fn names_are_both_tools() {
    for sampler in Sampler::ALL {
        assert_eq!(Sampler::from_name(sampler.name()), Ok(sampler));
        let back = Sampler::from_name(sampler.a1111_name()).expect("a sampler");
        assert_eq!(back.a1111_name(), sampler.a1111_name());
    }
    for schedule in Schedule::ALL {
        assert_eq!(Schedule::from_name(schedule.name()), Ok(schedule));
        assert_eq!(Schedule::from_name(schedule.a1111_name()), Ok(schedule));
        let (sampler, found) = Sampler::from_a1111(&format!("DPM++ 2M SDE {}", schedule.a1111_name())).expect("both");
        assert_eq!((sampler, found), (Sampler::Dpmpp2mSde, Some(schedule)));
    }
    assert_eq!(Sampler::from_a1111("Euler a"), Ok((Sampler::EulerAncestral, None)));
    assert_eq!(Sampler::from_a1111("DPM++ 2M Karras"), Ok((Sampler::Dpmpp2m, Some(Schedule::Karras))));
    assert_eq!(Sampler::from_name("PNDM"), Ok(Sampler::Plms));
    assert_eq!(Schedule::from_name("Uniform"), Ok(Schedule::Normal));
    assert!(Sampler::from_a1111("Karras").is_err() && Sampler::from_a1111("日本 Karras").is_err());
    assert_eq!(Sampler::Dpmpp2m.automatic(Tool::A1111), Schedule::Karras);
    assert_eq!(Sampler::Dpmpp3mSde.automatic(Tool::A1111), Schedule::Exponential);
    assert_eq!(Sampler::Dpmpp2m.automatic(Tool::ComfyUi), Schedule::Normal);
}
