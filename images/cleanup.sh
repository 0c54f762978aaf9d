#!/bin/bash
# Removes what belongs to one machine, and no image may carry over to others: keys, identity, history, caches.
#
# ROOT has to be said: the machine's own / on a builder, any other folder in a test. Repeating it changes nothing.
# For Debian and Amazon Linux; what is not there is not missed.
set -euo pipefail
shopt -s nullglob dotglob

: "${ROOT:?is the root to clean; / is this machine itself}"
root=${ROOT%/}

main() {
  remove_identity
  remove_access
  remove_puppet_state
  remove_cloud_init_state
  remove_caches
  remove_temporary_files
  empty_logs  # last: the others may write some
}

# Made anew by every machine at its first boot, or needed by none.
remove_identity() {
  remove "$root"/etc/ssh/ssh_host_*
  # Empty and not gone: without the file systemd takes the boot for the first one ever and resets its units.
  [[ ! -e $root/etc/machine-id ]] || truncate --size 0 "$root/etc/machine-id"
  # D-Bus keeps a second one, unless it is a link to the first.
  [[ -L $root/var/lib/dbus/machine-id ]] || remove "$root/var/lib/dbus/machine-id"
  remove "$root"/var/lib/systemd/{random-seed,credential.secret}
  remove "$root"/var/lib/amazon/ssm/i-*  # the agent's registration as the builder
  remove "$root"/var/lib/{dhcp,dhclient}/*.lease* "$root"/etc/udev/rules.d/70-persistent-net.rules
}

# Whom the builder let in, and what they typed.
remove_access() {
  local home
  for home in "$root"/root "$root"/home/*; do
    remove "$home"/.ssh/{authorized_keys,known_hosts}*
    remove "$home"/.{bash,zsh,python,mysql,psql}_history "$home"/.{lesshst,viminfo}
    remove "$home"/.aws/cli/cache "$home"/.aws/sso/cache
  done
}

# Certificates and private key, then what may quote secrets: catalogs, facts, reports, and replaced files, which
# Puppet keeps in its bucket. Modules and plug-ins stay. Debian's paths, and those of Puppet's own packages.
remove_puppet_state() {
  local state
  remove "$root"/var/lib/puppet/ssl "$root"/etc/puppet/ssl "$root"/etc/puppetlabs/puppet/ssl
  for state in "$root"/var/lib/puppet "$root"/var/cache/puppet "$root"/opt/puppetlabs/puppet/cache; do
    remove "$state"/{client_data,client_yaml,clientbucket,facts,reports,state}
  done
}

remove_cloud_init_state() {
  if [[ -z $root ]] && command -v cloud-init; then
    cloud-init clean --logs
  fi
  # Its seed stays: some images carry their data source in it.
  remove "$root"/var/lib/cloud/{data,handlers,instance,instances,sem}
}

remove_caches() {
  remove "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  remove "$root"/var/cache/{dnf,libdnf5,yum}/*
}

remove_temporary_files() {
  remove "$root"/tmp/* "$root"/var/tmp/* "$root"/var/crash/*
}

# Emptied and not removed: services have them open, and expect their owner and mode. Rotated ones are in nobody's
# hands. The journal's own folder stays: it is what makes the journal last.
empty_logs() {
  [[ -d $root/var/log ]] || return 0
  remove "$root"/var/log/journal/*
  find "$root/var/log" -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.old' -o -name '*.[0-9]' -o -name '*-20[0-9][0-9]*' \) \
    -delete
  find "$root/var/log" -type f -exec truncate --size 0 {} +
}

remove() {
  rm --recursive --force -- "$@"
}

main
