#!/usr/bin/env bash
# Checks with a modern Bazel, from Debian's unstable distribution, against the registry that
# tools/registry.py makes of its packages. Called by ./sluice modern. The distribution lies in a
# folder of the cache (2 GB), is made once, and is recreated after two weeks.
#
# usage: tools/modern.sh [--short]    as root; the last line is `N passed, N failed`
#
# Exit code 75: the distribution is not available here; the last line has the reason.
#
# Everything runs in namespaces of its own for mounts and processes: however this ends, the kernel
# then ends Bazel's server and undoes the mounts.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

not_here=75
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/sluice
root=$cache/unstable
packages="bazel-bootstrap g++ libabsl-dev libconcurrentqueue-dev libgmock-dev libgtest-dev
  libspdlog-dev pkg-config python3"
keep_days=14
free_kib_min=4000000  # Room for two: a new distribution is made before the old one is deleted.
make_seconds_max=400  # For each of the two steps: a mirror may hang.

skip() {
  echo "sluice: modern: skipped, $*"
  exit $not_here
}

if [ "${1-}" != --inside ]; then
  [ "$(id -u)" = 0 ] || skip "as only root can make a root folder"
  command -v debootstrap >/dev/null || skip "as debootstrap is not installed"
  unshare --mount --pid --fork true 2>/dev/null || skip "as this machine gives no namespaces"
  if [[ $cache =~ [[:space:]] ]]; then
    echo "sluice: modern: debootstrap cannot work in \"$cache\": set XDG_CACHE_HOME to a path without space" >&2
    exit 1
  fi
  mkdir -p "$cache"
  # Without --kill-child and --pdeathsig, a killed parent would leave the others running.
  exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child \
    tools/modern.sh --inside "$@"
fi

# Process 1 of a namespace gets only the signals that it traps.
trap 'exit 130' INT
trap 'exit 143' TERM

exec 9>"$cache/lock"
if ! flock -n 9; then
  echo "waiting for another run to end"
  flock 9
fi

# --- The distribution.

# The machine's own mirror of Debian.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
  'Label: Debian' 2>/dev/null | head -n 1) || true
proxy=$(apt-config dump 2>/dev/null | sed -n 's/^Acquire::http::Proxy "\(.*\)";$/\1/p') || true
[ -z "$proxy" ] || export http_proxy=$proxy

in_root() {
  chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive ${http_proxy:+"http_proxy=$http_proxy"} "$@"
}

mount_kernel() {
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
}

# Deletes a root folder. Mounts below it are not part of it, and must not be emptied: they are
# unmounted first, in this namespace alone.
delete() {  # FOLDER
  local at
  while read -r at; do umount --lazy "$at"; done \
    < <(awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
  if grep -qF " $1/" /proc/self/mountinfo; then
    echo "sluice: modern: $1 has mounts below it that do not go; nothing is deleted" >&2
    exit 1
  fi
  rm -rf --one-file-system "$1"
}

# Makes the root in a folder of its own, which replaces the old one when it is complete.
make_root() {
  local log=$cache/unstable.log final=$root root=$root.new
  delete "$root"
  [ -n "$mirror" ] || skip "as apt names no mirror of Debian"
  if [ "$(df --output=avail -k "$cache" | tail -n 1)" -lt $free_kib_min ]; then
    echo "sluice: modern: $cache has less than $free_kib_min KiB free" >&2
    exit 1
  fi
  echo "making $final"
  timeout --foreground $make_seconds_max \
    debootstrap --variant=minbase sid "$root" "$mirror" >"$log" 2>&1 ||
    skip "as debootstrap failed: $(reason "$log")"
  mount_kernel
  # A mirror may be an old copy. Nothing here has to survive a power failure.
  # shellcheck disable=SC2086
  in_root timeout --foreground $make_seconds_max \
    apt-get -q -y -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false \
    -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Use-Pty=0 \
    install --no-install-recommends $packages </dev/null >>"$log" 2>&1 ||
    skip "as its packages could not be installed: $(reason "$log")"
  in_root apt-get clean
  echo "$packages" >"$root/made"
  umount --lazy "$root/proc" "$root/dev"
  delete "$final"
  mv "$root" "$final"
}

# The first line that names an error, otherwise the last line.
reason() {  # LOG
  grep -m 1 -E '^(E:|W: Failure)' "$1" || tail -n 1 "$1"
}

if [ "$(cat "$root/made" 2>/dev/null)" != "$packages" ]; then
  make_root
elif [ -z "$(find "$root/made" -mtime -$keep_days)" ]; then
  # If no new root can be made, the old one is still used.
  (make_root) || echo "the old root folder is used instead"
fi
mount_kernel
echo "ready after $SECONDS s"

# --- The checks.

# Read-only: a build can leave nothing in the sources.
mkdir -p "$root/sluice"
mount --bind . "$root/sluice"
mount -o remount,ro,bind "$root/sluice"

options=(--registry=file:///registry --lockfile_mode=off --curses=no --color=no
  --show_progress_rate_limit=30 --spawn_strategy=processwrapper-sandbox --nosandbox_debug)
# The common part of the two embedded programs is compiled once.
embedded=("${options[@]}" --disk_cache=/root/.cache/sluice)
# The defaults of Bazel 8 and 9, if Bazel 7 has a setting for them.
newer=(--noenable_workspace --incompatible_disable_native_repo_rules
  --incompatible_use_plus_in_repo_names --incompatible_autoload_externally=
  --incompatible_disallow_empty_glob)
passed=0
failed=0

at() {  # FOLDER COMMAND...
  # shellcheck disable=SC2016
  in_root sh -c 'cd "$0" && exec "$@"' "$@"
}

check() {  # NAME COMMAND...: the last line may be `N passed, N failed`; otherwise it counts as one test.
  local name=$1 status=0 start=$SECONDS good=0 bad=0
  shift
  "$@" 2>&1 | tee "$root/tmp/output" || status=$?
  if [[ $(tail -n 1 "$root/tmp/output") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    good=${BASH_REMATCH[1]}
    bad=${BASH_REMATCH[2]}
  elif [ $status -eq 0 ]; then
    good=1
  fi
  if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + good))
  failed=$((failed + bad))
  summary+=("$(printf '%-24s %4d s, %d passed, %d failed' "$name" $((SECONDS - start)) "$good" "$bad")")
}

analyze() {  # OPTION...
  at /sluice bazel build --nobuild --symlink_prefix=/ "${options[@]}" "$@" //...
}

run_tests() {  # FOLDER OPTION-OR-TARGET...
  local status=0 folder=$1
  shift
  at "$folder" bazel test --build_event_json_file=/tmp/events --keep_going --symlink_prefix=/ "$@" ||
    status=$?
  at / python3 /sluice/tools/count_tests.py /tmp/events $status || status=$?
  return $status
}

summary=()
check registry in_root python3 /sluice/tools/registry.py --write /registry /usr/share/bazel
check "analysis as 8 and 9" analyze "${newer[@]}"
check "analysis" analyze
check embed run_tests /sluice/embed "${embedded[@]}" //...
at /sluice/embed bazel shutdown
rm -rf "$root/fresh"
# Without a WORKSPACE.bzlmod, Bazel 7 would download the repositories of its own default WORKSPACE.
check "docs/embedding.md" in_root python3 /sluice/tools/fresh.py modern /fresh "${embedded[@]}" \
  --noenable_workspace
if [ "${2-}" != --short ]; then
  # Not the tests of growth, which measure, and give the same result for each compiler.
  check tests run_tests /sluice "${options[@]}" -- //tests/unit/... //tests/sim/... //protocols/... \
    //docs/... -//tests/unit/worker:end_growth_test -//tests/unit/hub:hub_growth_test
fi
at /sluice bazel shutdown

echo
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
