#!/bin/sh
# Build the probe modules and the runner, boot a kernel under qemu with emulated
# persistent memory, play scenarios, write their records.
#
#	boot.sh [-k] KERNEL SCENARIOS OUT NAME...
#
# KERNEL	a release or how one begins (6.1), its headers installed; or the folder
#		in which a kernel was built from source
# SCENARIOS	the folder with NAME.scn
# OUT		where NAME.json and KERNEL.json go
# -k		keeps the build folder, with the consoles' logs, and prints where it is
# ORACLE_ACCEL	tcg (default) or kvm
# ORACLE_LIMIT	seconds a boot may last (default 900)
#
# oracle.mjs calls it, after it has seen that everything is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin

keep=
[ "${1:-}" = -k ] && { keep=1; shift; }
[ $# -ge 4 ] || { echo "usage: boot.sh [-k] KERNEL SCENARIOS OUT NAME..." >&2; exit 2; }
want=$1 scenarios=$2 out=$3
shift 3
accel=${ORACLE_ACCEL:-tcg}
limit=${ORACLE_LIMIT:-900}
if [ -e "$want/arch/x86/boot/bzImage" ]; then
	build=$(cd "$want" && pwd)
	kernel=$(cat "$build/include/config/kernel.release")
	image=$build/arch/x86/boot/bzImage
	modules=
else
	kernel=$(for d in "/lib/modules/$want/build" "/lib/modules/$want"[.-]*/build; do
		r=$(basename "$(dirname "$d")")
		[ -e "$d" ] && [ -e "/boot/vmlinuz-$r" ] && echo "$r"
	done | sort -V | tail -1)
	[ -n "$kernel" ] || { echo "no kernel $want with headers: see README.md" >&2; exit 1; }
	build=/lib/modules/$kernel/build
	image=/boot/vmlinuz-$kernel
	modules=/lib/modules/$kernel
fi
work=$(mktemp -d)
if [ -n "$keep" ]; then echo "build folder: $work"; else trap 'rm -rf "$work"' EXIT; fi

# label, start and size (MiB), device DAX alignment. A gap follows each, or the
# kernel would merge neighbours into one region. RAM ends where the last ends.
layout='ext4 6144 768
xfs 7168 768
xfsn 8192 768
dax2m 9216 256 2M
dax4k 9728 256 4K
dax1g 10240 3072 1G'
ram=11264				# 2048 below 4 GiB, the rest from there up

# ------------------------------------------------------------------- build
own=hmmprobe				# our modules
if grep -q '^CONFIG_DEVICE_PRIVATE=y' "$build/.config"; then
	own="$own migrprobe"
fi
for m in $own; do
	cp -r "$here/$m" "$work/$m"
	make -s -C "$build" M="$work/$m" modules >"$work/module.log" 2>&1 ||
		{ cat "$work/module.log" >&2; exit 1; }
done
root=$work/root
mkdir -p "$root/bin" "$root/sbin" "$root/oracle/mod" "$root/etc"
gcc -std=gnu11 -O2 -Wall -Wextra -static -pthread -o "$root/oracle/runner" "$here/runner.c"
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp "$here/guest/init" "$root/init"
cp "$here/guest/fs" "$root/oracle/fs"
chmod 755 "$root/init" "$root/oracle/fs"
cp /etc/mke2fs.conf "$root/etc/"
for tool in mkfs.ext4 mkfs.xfs ndctl; do
	bin=$(readlink -f "$(command -v $tool)")
	cp "$bin" "$root/sbin/$tool"
	ldd "$bin" | grep -o '/[^ ]*' | while read -r lib; do
		mkdir -p "$root$(dirname "$lib")"
		cp -Ln "$lib" "$root$lib"
	done
done
# modules.dep lists a module's needs, the ones to load first last. A kernel with
# everything built in has none.
for m in crc32c_generic nd_e820 nd_pmem dax_pmem device_dax ext4 xfs; do
	[ -z "$modules" ] || awk -v m="/$m[.]ko([.][a-z]+)?:\$" '
		$1 ~ m { for (i = NF; i > 1; i--) print $i; sub(/:$/, "", $1); print $1 }' \
		"$modules/modules.dep"
done | awk '!seen[$1]++' | while read -r ko; do
	name=$(basename "$ko" | sed 's/[.]ko.*/.ko/')
	case $ko in
	*.xz) xz -dc "$modules/$ko" ;;
	*.zst) zstd -dc "$modules/$ko" ;;
	*) cat "$modules/$ko" ;;
	esac >"$root/oracle/mod/$name"
	echo "$name"
done >"$root/oracle/modules"
for m in $own; do
	cp "$work/$m/$m.ko" "$root/oracle/mod/"
	echo "$m.ko" >>"$root/oracle/modules"
done
echo "$layout" | while read -r label start size align; do
	echo "$label $((start << 20)) $((start + size << 20)) $align"
done >"$root/oracle/pmem"
memmap=$(echo "$layout" | awk '{ printf "memmap=%dM!%dM ", $3, $2 }')
(cd "$root" && find . | cpio -o -H newc --quiet) >"$work/base.cpio"

# -------------------------------------------------------------------- boots
boots=0
boot() {	# boot NAME...: appends what they print to $work/results, log to console
	boots=$((boots + 1))
	rm -rf "$work/extra"
	mkdir -p "$work/extra/oracle/scn"
	for s; do
		echo "$s"
		cp "$scenarios/$s.scn" "$work/extra/oracle/scn/"
	done >"$work/extra/oracle/list"
	(cd "$work/extra" && find . | cpio -o -H newc --quiet) >"$work/extra.cpio"
	cat "$work/base.cpio" "$work/extra.cpio" >"$work/initrd"
	: >"$work/console"
	: >"$work/answers"
	if [ "$accel" = kvm ]; then cpu=host; else cpu=max,-la57; fi
	timeout "$limit" qemu-system-x86_64 -machine q35,accel="$accel" -cpu "$cpu" \
		-m "${ram}M" -smp 1 -nic none -display none -monitor none -no-reboot \
		-kernel "$image" -initrd "$work/initrd" \
		-serial "file:$work/console" -serial "file:$work/answers" \
		-append "console=ttyS0 panic=-1 oops=panic nokaslr mitigations=off audit=0 \
transparent_hugepage=madvise default_hugepagesz=2M hugepagesz=2M hugepages=64 \
hugepagesz=1G hugepages=2 $memmap" </dev/null >"$work/qemu.log" 2>&1 || true
	tr -d '\r' <"$work/answers" >>"$work/results"
	tr -d '\r' <"$work/console" >"$work/console.$boots"
	cat "$work/console.$boots" >>"$work/log"
}
ended() { grep -q "^{\"s\":\"$1\",\"end\"" "$work/results"; }
started() { grep -q "^{\"s\":\"$1\",\"begin\"" "$work/results"; }

: >"$work/results"
: >"$work/log"
begun=$(date +%s)
together=
for s; do
	if grep -q '^# isolated' "$scenarios/$s.scn"; then boot "$s"; else together="$together $s"; fi
done
while [ -n "$together" ]; do
	# shellcheck disable=SC2086
	boot $together
	rest=
	for s in $together; do
		ended "$s" || started "$s" || rest="$rest $s"
	done
	if [ "$rest" = "$together" ]; then
		echo "the guest ran nothing; its console:" >&2
		tail -40 "$work/console.$boots" >&2
		exit 1
	fi
	together=$rest
done

# ------------------------------------------------------------------- golden
# The scenario's own lines, and what the kernel logged of interest meanwhile.
mkdir -p "$out"
for s; do
	awk -v s="$s" '
		index($0, "oracle: scenario ") { on = $NF == s }
		/Modules linked in/ { next }
		on && /Memory failure|WARNING: CPU|BUG:|Oops|kernel BUG|RIP: 0010|EXPERIMENTAL|DAX|dax[: ]|bad p[gum]d|blocked for/
		' "$work/log" | sed -E 's/^\[[ 0-9.]*\] //; s/0x[0-9a-f]+|[0-9a-f]{12,16}/<hex>/g
		s/\([0-9a-f]{6,}\)/(<hex>)/g; s/PID: [0-9]+/PID: <n>/; s/runner:[0-9]+/runner:<n>/
		s/Comm: .*//; s/["\\]//g' >"$work/klog"
	awk -v s="$s" -v klog="$work/klog" '
		BEGIN { head = "{\"s\":\"" s "\","; end = "crash" }
		index($0, head) == 1 && /}$/ {
			rest = substr($0, length(head) + 1)
			if (rest ~ /^"begin"/) { title = substr(rest, 9); sub(/}$/, "", title) }
			else if (rest ~ /^"end"/) { end = substr(rest, 8); gsub(/["}]/, "", end) }
			else ops[++n] = "{" rest
		}
		END {
			printf "{\"scenario\":\"%s\",\n\"title\":%s,\n\"result\":\"%s\",\n\"ops\":[\n", s, title ? title : "\"\"", end
			for (i = 1; i <= n; i++) printf "%s%s\n", ops[i], i < n ? "," : ""
			printf "],\n\"klog\":["
			while ((getline line < klog) > 0) printf "%s\n\"%s\"", k++ ? "," : "", line
			printf "]}\n"
		}' "$work/results" >"$out/$s.json"
	printf '%-28s %s\n' "$s" "$(sed -n 's/^"result":"\(.*\)",$/\1/p' "$out/$s.json")"
done
uname=$(strings "$image" | grep -m1 "^$kernel (debian" || echo "$kernel")
qemu=$(qemu-system-x86_64 --version | head -1)
printf '{"kernel":"%s",\n"qemu":"%s",\n"accel":"%s"}\n' "$uname" "$qemu" "$accel" >"$out/KERNEL.json"
echo "$# scenarios, $boots boots, $(($(date +%s) - begun)) s"
