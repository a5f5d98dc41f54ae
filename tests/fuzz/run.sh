#!/bin/bash
# Builds the fuzz targets with AddressSanitizer, without cargo-fuzz but with its flags, runs each for so many seconds, and packs
# what each corpus came to: tests/fuzz/run.sh [SECONDS=900] [TARGET…]. What is found lies in artifacts/; a line for each target
# goes to standard output.
set -eu
cd "$(dirname "$0")"
seconds=${1:-900}
shift || true
export CARGO_INCREMENTAL=0
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address --cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks"
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
cargo +nightly build --release --target "$host"
python3 corpora.py seeds corpus
targets=${*:-$(ls fuzz_targets/*.rs | sed -n 's/.*\/\(.*\)\.rs/\1/p')}
limits="-max_len=65536 -rss_limit_mb=1024 -timeout=10 -malloc_limit_mb=256"
for target in $targets; do
  program=target/$host/release/$target
  mkdir -p artifacts/"$target" merged/"$target"
  dictionary=$(test -f "$target.dict" && echo "-dict=$target.dict" || true)
  "$program" corpus/"$target" $limits $dictionary -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix=artifacts/"$target"/ 2> artifacts/"$target".log || echo "$target: FAILED, see artifacts/$target.log"
  "$program" -merge=1 $limits merged/"$target" corpus/"$target" 2>> artifacts/"$target".log
  sed -n 's/^stat::number_of_executed_units: *//p' artifacts/"$target".log | sed "s/^/$target: runs /"
  grep -a "^Done " artifacts/"$target".log | sed "s/^/$target: /"
done
python3 corpora.py pack merged
