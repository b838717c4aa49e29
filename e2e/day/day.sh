# A day in the life of a server. Run twice: in enforce mode, then in audit mode
# without what takes long. Each step stands for what servers do by themselves or
# what administrators do every day.
# Each step says what it does; a step that fails ends the day.
step() { echo "day-step $*"; }
fail() { echo "day-failed $*"; exit 1; }
round=$1

if [ "$round" = enforce ]; then
step "a package is installed: account, unit, cron job, library"
apt-get -q -o Dpkg::Use-Pty=0 install -y /opt/day/app.deb >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; fail apt; }
systemctl is-active -q day-app || fail "unit of the package"
fi

step "an account is made and gets a key"
useradd -m -s /bin/bash dev || fail useradd
echo 'dev:correct horse' | chpasswd || fail chpasswd
usermod -aG sudo dev || fail usermod
chage -M 365 dev || fail chage
rm -f /root/.ssh/day_key*
mkdir -p -m 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/day_key || fail ssh-keygen
install -d -m 700 -o dev -g dev /home/dev/.ssh
install -m 600 -o dev -g dev /root/.ssh/day_key.pub /home/dev/.ssh/authorized_keys || fail authorized_keys

step "logins: ssh, su, sudo, login, a command that needs a password file"
ssh="ssh -q -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i /root/.ssh/day_key dev@127.0.0.1"
[ "$($ssh id -un)" = dev ] || fail ssh
su - dev -c 'id -un' | grep -qx dev || fail su
$ssh 'echo "correct horse" | sudo -S -p "" id -un' | grep -qx root || fail sudo
script -qec 'login -f dev' /dev/null <<< 'id -un; exit' | grep -q dev || fail login
$ssh 'cd /tmp && touch mine && rm mine && ls -la ~ >/dev/null' || fail session

step "a build, as a person who is logged in"
$ssh 'bash -s' < /opt/day/build.sh || fail build

step "a web server under load"
ab -q -n 400 -c 8 http://127.0.0.1/ >/tmp/ab.log 2>&1 || fail ab
grep -q '^Failed requests: *0$' /tmp/ab.log || fail "requests"
systemctl reload nginx || fail reload
curl -sf http://127.0.0.1/ >/dev/null || fail curl

step "the night: cron, rotation, cleaning up"
rm -f /run/day-cron
printf '* * * * * root touch /run/day-cron\n' > /etc/cron.d/day
run-parts /etc/cron.daily || fail run-parts
logrotate -f /etc/logrotate.conf || fail logrotate
systemd-tmpfiles --clean || fail tmpfiles
logger -t day round "$round" || fail logger
(crontab -l 2>/dev/null; echo '@daily true') | crontab - || fail crontab
journalctl -n 5 -q >/dev/null || fail journalctl
if [ "$round" = enforce ]; then
for _ in $(seq 90); do [ -e /run/day-cron ] && break; sleep 1; done
[ -e /run/day-cron ] || fail "cron job"
fi

step "care: settings, services, users, kernel parameters"
sysctl -q -w net.ipv4.ip_forward=0 || fail sysctl
systemctl restart ssh rsyslog cron || fail restart
systemctl daemon-reload || fail daemon-reload
passwd -l dev >/dev/null || fail passwd
getent passwd dev >/dev/null || fail getent
ldconfig || fail ldconfig
rm -f /etc/cron.d/day
# The manager of a person's services ends a while after the last login does.
for _ in $(seq 30); do userdel -r dev 2>/tmp/userdel.log && break; sleep 1; done
if getent passwd dev >/dev/null; then
	cat /tmp/userdel.log
	fail userdel
fi
[ "$round" != enforce ] || apt-get -q purge -y day-app >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; fail purge; }
step done
