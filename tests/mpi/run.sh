#!/usr/bin/env bash
# Two processes train one model: `mpirun -n 2 elbo train`, on a tiny network.
#
#   tests/mpi/run.sh                 builds the program with the feature mpi, and tests it
#   tests/mpi/run.sh --install       only installs what the feature needs; exit code 1, and the reason, if it cannot
#   ELBO=path/to/elbo KILLS=10 RANKS="2 3 4" tests/mpi/run.sh
#
# Without Open MPI and libclang it installs them if it may; if it cannot, it says so and ends well.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() { echo "skipped: $*"; [ "${install:-}" != --install ]; exit; }
install=${1:-}
fail() { echo "failed: $*" >&2; exit 1; }

has_libclang() { ldconfig -p | grep -q 'libclang[-.]' || ls /usr/lib/llvm*/lib/libclang.so* >/dev/null 2>&1; }
has_all() { command -v mpicc >/dev/null && command -v mpirun >/dev/null && has_libclang; }
if ! has_all; then
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || skip "Open MPI and libclang are not installed, and cannot be here"
    (apt-get update && apt-get install -y --no-install-recommends libopenmpi-dev openmpi-bin libclang-dev) >/dev/null 2>&1 || true
    has_all || skip "libopenmpi-dev, openmpi-bin and libclang-dev cannot be installed here"
fi

if [ "$install" = --install ]; then exit 0; fi

if [ -z "${ELBO:-}" ]; then
    # Quick to build; the network is so small that it need not be fast.
    CARGO_PROFILE_DEV_OPT_LEVEL=0 cargo build --quiet --locked --features mpi
    ELBO=${CARGO_TARGET_DIR:-target}/debug/elbo
fi
ELBO=$(realpath "$ELBO")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The first 400 digits of MNIST: an IDX header, and their pixels.
{
    printf '\0\0\010\003\0\0\001\220\0\0\0\034\0\0\0\034'
    gzip -dc data/mnist/train-images-idx3-ubyte.gz | tail -c +17 | head -c $((400 * 784)) || true
} >"$work/images.idx"

options=(--data "$work/images.idx" --size 8 --preset mlp --hidden 16 --latent 4 --valid 80 --batch 12 --seed 3 --threads 1)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# A network of any kind may be missing; what is left is shared memory and the loopback device.
mpi() { mpirun --oversubscribe --bind-to none --mca btl self,vader,tcp -n "$@"; }
train() { mpi "$1" "$ELBO" train "${options[@]}" --out "$work/$2" --epochs "$3" >"$work/$2.log" 2>&1; }
resume() { mpi "$1" "$ELBO" train --resume "$work/$2" "${@:3}" >"$work/$2.resume.log" 2>&1; }
same() { cmp "$work/$1/model.safetensors" "$work/$2/model.safetensors" && cmp "$work/$1/checkpoint.safetensors" "$work/$2/checkpoint.safetensors"; }
# The validation −ELBO of the last epoch.
bound() { awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "valid_negative_elbo") c = i } END { print $c }' "$work/$1/metrics.csv"; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(d * d <= 0.05 * 0.05) }'; }
after_two_epochs() { until [ "$(wc -l 2>/dev/null <"$work/$1/metrics.csv" || echo 0)" -ge 3 ]; do sleep 0.02; done; }
ranks_of() { pgrep -f -- "--out $work/$1 " || true; }

"$ELBO" train "${options[@]}" --out "$work/alone" --epochs 3 >"$work/alone.log" 2>&1
for n in ${RANKS:-2}; do
    train "$n" "once-$n" 3 || fail "$(cat "$work/once-$n.log")"
    train "$n" "twice-$n" 3
    same "once-$n" "twice-$n" || fail "two runs on $n ranks differ"
    near "$(bound "once-$n")" "$(bound alone)" || fail "$n ranks end at $(bound "once-$n") nats, one at $(bound alone)"
    [ "$(grep -c 'run folder' "$work/once-$n.log")" = 1 ] || fail "several ranks print: $(cat "$work/once-$n.log")"
    echo "$n ranks: validation -ELBO $(bound "once-$n"), one process $(bound alone); twice the same bits"
done

# An error of rank 0 before the run begins is told once, and ends all.
if mpi 2 "$ELBO" train --data "$work/absent.npy" --out "$work/none" >"$work/none.log" 2>&1; then fail "absent images were accepted"; fi
[ "$(grep -c '^error: .*absent.npy' "$work/none.log")" = 1 ] || fail "$(cat "$work/none.log")"
grep -q MPI_ERR "$work/none.log" && fail "$(cat "$work/none.log")"
echo "an error before the run is told once"

# Stopped by the signal that mpirun sends on Ctrl-C and Slurm before the time is over, and continued.
train 2 whole 12
train 2 stopped 12 & job=$!
after_two_epochs stopped
for pid in $(ranks_of stopped); do
    if grep -qz 'OMPI_COMM_WORLD_RANK=1' "/proc/$pid/environ" 2>/dev/null; then kill -TERM "$pid"; fi
done
wait "$job" && fail "a run was not stopped"
grep -q 'stopped at step' "$work/stopped.log" || fail "$(cat "$work/stopped.log")"
resume 2 stopped || fail "$(cat "$work/stopped.resume.log")"
same whole stopped || fail "a run that was stopped and resumed differs"
echo "a signal to one rank stops both; resumed to the same bits"

for kill in $(seq "${KILLS:-1}"); do
    run=killed-$kill
    train 2 "$run" 12 & job=$!
    after_two_epochs "$run"
    sleep "0.0$((kill % 10))"
    for pid in $(ranks_of "$run"); do
        if grep -qz "OMPI_COMM_WORLD_RANK=$((kill % 2))" "/proc/$pid/environ" 2>/dev/null; then kill -KILL "$pid"; fi
    done
    started=$(date +%s)
    if wait "$job"; then fail "the run survived the death of a rank"; fi
    echo "kill $kill of rank $((kill % 2)): ended after $(($(date +%s) - started)) s with: $(grep -m1 'signal 9' "$work/$run.log")"
    [ -z "$(ranks_of "$run")" ] || fail "a rank is still there"
    cp -r "$work/$run" "$work/$run-other"
    resume 2 "$run" || fail "$(cat "$work/$run.resume.log")"
    same whole "$run" || fail "a run whose rank was killed differs after its resumption"
    resume "${OTHER:-1}" "$run-other" || fail "$(cat "$work/$run-other.resume.log")"
    near "$(bound "$run-other")" "$(bound whole)" || fail "${OTHER:-1} ranks end at $(bound "$run-other") nats, two at $(bound whole)"
done
echo "the death of a rank ends a run; resumed to the same bits by 2 ranks, and by ${OTHER:-1} to $(bound "$run-other") nats instead of $(bound whole)"
