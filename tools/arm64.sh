#!/usr/bin/env bash
# Compiles the tests of data that threads share for arm64, statically, and runs them on a processor
# that qemu emulates: once with one instruction for each atomic change (LSE), once with load and store
# exclusive. Called by ./sluice arm64. The last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

tests=(mailbox lane_gate sleep_word inbox)  # tests/unit/mailbox/NAME_test.cc, with threads in each.
sources=(core/memory/buffer.cc core/memory/budget.cc)     # Sources that the tests need.
processors=(max cortex-a72)                 # With LSE, without.
googletest=/usr/src/googletest/googletest
repeats=5
seconds_max=60  # For one program on one processor: a lost wake-up hangs.

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
mkdir "$built/include"
ln -s "$PWD" "$built/include/sluice"
ln -s /usr/include/absl "$built/include/absl"  # Headers alone, the same for each processor.
flags=(-std=c++20 -O2 -pthread -Wall -Wextra -I "$built/include" -isystem "$googletest/include"
  -isystem "$googletest" -isystem /usr/include/concurrentqueue
  -isystem /usr/include/concurrentqueue/moodycamel)  # From Debian 13 on.

compile() {  # SOURCE OBJECT
  aarch64-linux-gnu-g++ "${flags[@]}" -c "$1" -o "$built/$2.o" || touch "$built/failed"
}
common=()
jobs_max=$(nproc)
start() {
  while [ "$(jobs -rp | wc -l)" -ge "$jobs_max" ]; do wait -n; done
  compile "$@" &
}
for source in "$googletest"/src/{gtest-all,gtest_main}.cc "${sources[@]}"; do
  object=$(basename "$source" .cc)
  common+=("$built/$object.o")
  start "$source" "$object"
done
for test in "${tests[@]}"; do start "tests/unit/mailbox/${test}_test.cc" "${test}_test"; done
wait
[ ! -e "$built/failed" ] || exit 1

passed=0
failed=0
for test in "${tests[@]}"; do
  # No warnings: googletest has a function that no static program can use; no test calls it.
  aarch64-linux-gnu-g++ -static -pthread -Wl,--no-warnings "$built/${test}_test.o" "${common[@]}" \
    -o "$built/$test"
  for processor in "${processors[@]}"; do
    status=0
    QEMU_CPU=$processor timeout --kill-after=5 "$seconds_max" qemu-aarch64 "$built/$test" \
      --gtest_repeat="$repeats" --gtest_output="json:$built/report.json" \
      >"$built/output" 2>&1 || status=$?
    cases=$(python3 -c 'import json, sys
report = json.load(open(sys.argv[1]))
print(report["tests"] - report["failures"] - report["disabled"], report["failures"])' \
      "$built/report.json" 2>/dev/null) || cases="0 0"
    rm -f "$built/report.json"
    passed=$((passed + ${cases% *}))
    failed=$((failed + ${cases#* }))
    # No failed test case is named: the program hung, died, or failed in an earlier repeat.
    if [ "$status" -ne 0 ] && [ "${cases#* }" = 0 ]; then failed=$((failed + 1)); fi
    if [ "$status" -eq 0 ]; then
      echo "${test}_test on $processor: ${cases% *} passed, each $repeats times"
    else
      cat "$built/output"
      echo "FAILED: ${test}_test on $processor (exit code $status)"
    fi
  done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
