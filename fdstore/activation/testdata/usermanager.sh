# Runs a user manager of systemd's for the service of folder $1, in the mount
# namespace that this shell was started in, and ends with its status. 77: this
# machine does not let it run. The manager wants cgroups of version 2 for itself
# and a /run; it ends when the service says so.
set -eu
dir=$1 group=/sys/fs/cgroup/regrow-activation-test-$$
mount --make-rprivate / || exit 77
mount -t tmpfs tmpfs /run || exit 77
mkdir -p /run/user/systemd/user /run/systemd/system
cp "$dir"/default.target "$dir"/*.service /run/user/systemd/user
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 77
mkdir "$group" && echo $$ >"$group/cgroup.procs" || exit 77
export XDG_RUNTIME_DIR=/run/user SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=info
unset NOTIFY_SOCKET DBUS_SESSION_BUS_ADDRESS
status=0
timeout --signal=KILL 170 "$2" --user || status=$?
# Out of the group, then an end to what is left in it: only a manager that was
# killed leaves something.
echo $$ >/sys/fs/cgroup/cgroup.procs
echo 1 >"$group/cgroup.kill" 2>/dev/null || true
for try in 1 2 3 4 5 6 7 8 9 10; do
	find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	[ -e "$group" ] || break
	sleep 0.1
done
exit $status
