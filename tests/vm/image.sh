#!/usr/bin/env bash
# The disk of a bare Debian server, its kernel and its keys, without a cloud image: systemd, sshd, sudo and Python.
# Usage: image.sh SUITE DIRECTORY. What is there already, and was made by this same recipe, stays as it is.
set -euo pipefail
suite=$1 dir=$2
recipe=$(sha256sum "$0" | cut -c1-12)
[ "$(cat "$dir/recipe" 2>/dev/null)" != "$recipe" ] || exit 0
mkdir -p "$dir"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ -f "$dir/key" ] || ssh-keygen -q -t ed25519 -N '' -C tests -f "$dir/key"
[ -f "$dir/host_key" ] || ssh-keygen -q -t ed25519 -N '' -C vm -f "$dir/host_key"

cat > "$work/customize" <<'HOOK'
#!/bin/sh
set -eu
root=$1
echo vm > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vm\n' > "$root/etc/hosts"
echo '/dev/vda / ext4 defaults,noatime 0 1' > "$root/etc/fstab"
# By name: "Type=ether" would be the containers' interfaces too, and networkd takes those off their bridge.
printf '[Match]\nName=en*\n[Network]\nDHCP=ipv4\n' > "$root/etc/systemd/network/50-dhcp.network"
# The resolver of qemu's user network.
echo 'nameserver 10.0.2.3' > "$root/etc/resolv.conf"
chroot "$root" useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/deploy"
install -d -m 0700 "$root/home/deploy/.ssh"
install -m 0600 "$KEY.pub" "$root/home/deploy/.ssh/authorized_keys"
chroot "$root" chown -R deploy:deploy /home/deploy/.ssh
rm -f "$root"/etc/ssh/ssh_host_*
install -m 0600 "$HOST_KEY" "$root/etc/ssh/ssh_host_ed25519_key"
install -m 0644 "$HOST_KEY.pub" "$root/etc/ssh/ssh_host_ed25519_key.pub"
printf 'PermitRootLogin no\nPasswordAuthentication no\n' > "$root/etc/ssh/sshd_config.d/10-keys-only.conf"
chroot "$root" systemctl enable --quiet systemd-networkd ssh
HOOK
chmod +x "$work/customize"

# dbus and libpam-systemd are what a server has, and what systemd's cgroup driver needs.
KEY=$(realpath "$dir/key") HOST_KEY=$(realpath "$dir/host_key") mmdebstrap --quiet --variant=minbase --format=directory \
  --include=systemd,systemd-sysv,libpam-systemd,dbus,udev,openssh-server,sudo,python3,iproute2,procps,ca-certificates,linux-image-cloud-amd64 \
  --customize-hook="$work/customize \"\$1\"" \
  "$suite" "$work/root"

rm -f "$dir"/disk.ext4 "$dir"/vmlinuz "$dir"/initrd
cp "$work"/root/boot/vmlinuz-* "$dir/vmlinuz"
cp "$work"/root/boot/initrd.img-* "$dir/initrd"
mke2fs -q -t ext4 -L root -d "$work/root" "$dir/disk.ext4" 10G
printf '%s' "$recipe" > "$dir/recipe"
