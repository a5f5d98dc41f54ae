//! Programs, step by step against k-diffusion, diffusers and diff-sampler on a toy network.

use serde_json::Value;
use wordbrush::samplers::{Draw, MAX_REGISTERS, Op, Options, Program, Reg, Sampler, Schedule, Sigmas};

use super::{floats, numbers, tables};

/// The toy network of the tables.
fn denoise(x: &[f64], sigma: f64) -> Vec<f64> {
    x.iter().map(|x| 0.8 * (x / (1.0 + sigma)).tanh() + 0.1 * x / (1.0 + sigma * sigma) + 0.05).collect()
}

/// The toy noise of the tables.
fn noise(draw: Draw, n: usize) -> Vec<f64> {
    (0..n).map(|e| 1.5 * (1.3 * (draw.index + 1) as f64 + 0.7 * e as f64).sin()).collect()
}

/// The latents after each step.
fn rows(program: &Program, start: Vec<f64>) -> Vec<Vec<f64>> {
    let n = start.len();
    let mut rows = Vec::new();
    let last = program.run(
        start,
        denoise,
        |draw| noise(draw, n),
        |i, x, denoised| {
            assert_eq!((i, x.len(), denoised.len()), (rows.len(), n, n));
            rows.push(x.to_vec());
            true
        },
    );
    assert_eq!(rows.last(), Some(&last));
    rows
}

/// The sampler of a row, its settings, and its noise levels.
fn case(row: &Value, golden: &Value) -> (Sampler, Options, Vec<f32>) {
    let sampler = Sampler::from_name(row["sampler"].as_str().expect("a name")).expect("a sampler");
    let said = |name: &str| row["options"][name].as_f64();
    let plain = Options::default();
    let options = Options {
        eta: said("eta"),
        s_noise: said("s_noise").unwrap_or(plain.s_noise),
        churn: said("s_churn").unwrap_or(plain.churn),
        churn_min: said("s_tmin").unwrap_or(plain.churn_min),
        churn_max: said("s_tmax").unwrap_or(plain.churn_max),
    };
    let same = |list: &&Value| list["steps"] == row["steps"] && list["denoise"] == row["denoise"];
    let of_steps =
        || &golden["schedules"].as_array().expect("schedules").iter().find(same).expect("a schedule")["sigmas"];
    let sigmas = floats(if row["sigmas"].is_array() { &row["sigmas"] } else { of_steps() });
    (sampler, options, sigmas)
}

/// The largest difference from the rows of a table, relative to the largest number in its row, over all of `rows`.
fn largest(list: &str, tolerance: f64) -> f64 {
    let golden = tables();
    let mut largest: f64 = 0.0;
    for row in golden[list].as_array().expect("rows") {
        let (sampler, options, sigmas) = case(row, &golden);
        let start = numbers(&golden["start"]).iter().map(|x| x * f64::from(sigmas[0])).collect();
        let ours = rows(&sampler.program(&sigmas, &options), start);
        let theirs = row["x"].as_array().expect("steps");
        assert_eq!(ours.len(), theirs.len(), "{} {options:?}", sampler.name());
        // Where noise is churned in, k-diffusion shows the latents after the churning of the next step; the last are bare.
        let first = if options.churn > 0.0 { ours.len() - 1 } else { 0 };
        for (step, (ours, theirs)) in ours.iter().zip(theirs).enumerate().skip(first) {
            let theirs = numbers(theirs);
            let size = theirs.iter().fold(0.1f64, |most, x| most.max(x.abs()));
            let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs() / size).fold(0.0, f64::max);
            assert!(
                off <= tolerance,
                "{} {options:?}, step {step} of {}: off by {off:e}, {ours:?} instead of {theirs:?}",
                sampler.name(),
                sigmas.len() - 1
            );
            largest = largest.max(off);
        }
    }
    println!("{list}: off by {largest:e} at most");
    largest
}

/// Both sides calculate in f64; k-diffusion's logarithms and roots come in another order.
#[test]
fn samplers_are_k_diffusions() {
    largest("k_diffusion", 1e-9);
}

#[test]
fn samplers_are_diffusers() {
    largest("diffusers", 1e-9);
}

/// diff-sampler integrates in f32: ten thousand terms whose polynomials divide by small differences of times.
#[test]
fn deis_is_diff_samplers() {
    largest("deis", 3e-5);
}

/// What users' k-diffusion does: everything in f32. Over twenty steps its last digit or two differ.
#[test]
fn rounding_does_not_matter() {
    let golden = tables();
    for row in golden["k_diffusion_f32"].as_array().expect("rows") {
        let (sampler, options, _) = case(row, &serde_json::json!({"schedules": [{"sigmas": []}]}));
        let (_, _, sigmas) = case(&serde_json::json!({"sampler": "euler", "steps": 20, "denoise": 1}), &golden);
        let start = numbers(&golden["start"]).iter().map(|x| x * f64::from(sigmas[0])).collect();
        let ours = rows(&sampler.program(&sigmas, &options), start).pop().expect("a step");
        let off = ours.iter().zip(numbers(&row["x"])).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{} {options:?}: off by {off:e} from f32", sampler.name());
        assert!(off <= 2e-6, "{}: off by {off:e}", sampler.name());
    }
}

/// Every sampler, on every schedule, for every number of steps, is executable and ends in a finite picture.
#[test]
fn programs_are_sound() {
    let trained = Sigmas::sd15();
    for sampler in Sampler::ALL {
        let mut most = 0;
        for schedule in Schedule::ALL {
            for steps in [1, 2, 3, 4, 5, 10] {
                let sigmas = schedule.sigmas(&trained, steps).expect("a schedule");
                let program = sampler.program(&sigmas, &Options::default());
                let registers = program.registers();
                most = most.max(registers.len());
                check(&program, sampler, &sigmas);
                let start = vec![f64::from(sigmas[0]); 2];
                let last = rows(&program, start).pop().expect("a step");
                assert!(last.iter().all(|x| x.abs() < 10.0), "{} {}: {last:?}", sampler.name(), schedule.name());
            }
        }
        println!("{}: {most} registers", sampler.name());
        assert!(most < MAX_REGISTERS, "{}: {most} registers leave no binding for the coefficients", sampler.name());
    }
}

/// Nothing is read before it is written, noise is counted without gaps, and the evaluations are as many as promised.
fn check(program: &Program, sampler: Sampler, sigmas: &[f32]) {
    let name = sampler.name();
    assert_eq!(program.steps.len(), sigmas.len() - 1, "{name}");
    let mut written = [false; MAX_REGISTERS];
    written[Reg::X.index()] = true;
    for op in program.ops() {
        match op {
            Op::Denoise { sigma } => {
                assert!(*sigma > 0.0, "{name}: the network at σ = {sigma}");
                written[Reg::DENOISED.index()] = true;
            }
            Op::Noise(_) => written[Reg::NOISE.index()] = true,
            Op::Mix(rows) => {
                let before = written;
                for (reg, form) in rows {
                    // A history may be shifted while it is empty, but nothing may come of it.
                    written[reg.index()] = form.terms().all(|(reg, _)| before[reg.index()]);
                }
                assert!(written[Reg::X.index()], "{name}: something is read before it is written, {rows:?}");
            }
        }
    }
    program.draws().iter().enumerate().for_each(|(i, draw)| assert_eq!(draw.index, i, "{name}"));
    let each = sampler.evaluations_per_step();
    let evaluations = program.evaluations().len();
    let promised = program.steps.len() * each;
    assert!(promised.abs_diff(evaluations) <= 1, "{name}: {evaluations} evaluations, {promised} promised");
}

/// The matrix of a mix does what the mix does.
#[test]
fn a_mix_is_a_matrix() {
    let sigmas = Schedule::Karras.sigmas(&Sigmas::sd15(), 6).expect("a schedule");
    for sampler in Sampler::ALL {
        let program = sampler.program(&sigmas, &Options::default());
        let registers = program.registers();
        let mut values = [0.0f64; MAX_REGISTERS];
        values[0] = f64::from(sigmas[0]);
        for op in program.ops() {
            match op {
                Op::Denoise { sigma } => values[1] = denoise(&values[..1], *sigma)[0],
                Op::Noise(draw) => values[2] = noise(*draw, 1)[0],
                Op::Mix(rows) => {
                    let matrix = Program::matrix(rows, &registers);
                    let old = values;
                    for (row, reg) in matrix.chunks(registers.len()).zip(&registers) {
                        let terms = row.iter().zip(&registers).map(|(c, reg)| f64::from(*c) * old[reg.index()]);
                        values[reg.index()] = terms.sum();
                    }
                }
            }
        }
        let last = rows(&program, vec![f64::from(sigmas[0])]).pop().expect("a step")[0];
        assert!((values[0] - last).abs() < 1e-5, "{}: {} instead of {last}", sampler.name(), values[0]);
    }
}

/// A run can be stopped after any step.
#[test]
fn a_run_can_be_stopped() {
    let sigmas = Schedule::Normal.sigmas(&Sigmas::sd15(), 8).expect("a schedule");
    let program = Sampler::Dpmpp2m.program(&sigmas, &Options::default());
    let mut steps = 0;
    program.run(
        vec![1.0],
        denoise,
        |draw| noise(draw, 1),
        |i, _, _| {
            steps += 1;
            i < 2
        },
    );
    assert_eq!(steps, 3);
}

#[test]
fn settings_out_of_range_are_refused() {
    let plain = Options::default();
    assert!(plain.check().is_ok());
    for wrong in [
        Options { eta: Some(1.5), ..plain },
        Options { eta: Some(f64::NAN), ..plain },
        Options { s_noise: -1.0, ..plain },
        Options { churn: f64::INFINITY, ..plain },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}
