#!/bin/bash
# What a builder runs as its user data: Puppet, cleanup, report, shutdown. An image is made of what is then on disk.
#
# The parameters are variables. Whoever launches the builder puts assignments in front of this script and leaves
# the script as it is, with each value quoted for a shell (Python's shlex.quote): whatever is in it stays a value.
#
#     #!/bin/bash
#     MAYFLY_BAKE='base-2026-11-24-0a1b2c3d'
#     ...
#
# MAYFLY_BAKE                id of the bake: names this machine to a Puppet server
# MAYFLY_LOG                 s3://bucket/key the log is uploaded to; {instance} in it is this machine's id
# MAYFLY_CLEANUP             the text of cleanup.sh, or of a family's own; runs with ROOT=/
# MAYFLY_TIME_LIMIT          seconds that the steps may take (3600)
# MAYFLY_MODE                apply: the Puppet code is fetched; agent: a Puppet server compiles it (apply)
# MAYFLY_PUPPET_CODE         apply: s3://, https:// or http:// location of a tar.gz whose top is a Puppet environment
#                            (manifests/, modules/, perhaps hiera.yaml and data/)
# MAYFLY_PUPPET_CODE_SHA256  apply: its checksum, in hexadecimal
# MAYFLY_MANIFEST            apply: what is applied of it (manifests/site.pp)
# MAYFLY_PUPPET_SERVER       agent: host name of the server. It has to sign the certificate by itself.
# MAYFLY_PUPPET_ENVIRONMENT  agent: environment asked for (production)
# MAYFLY_PUPPET_SECRET       agent: proves to the server whose machine this is; puppet/modules/mayfly/files/server/autosign
# MAYFLY_CONTROLLER          agent: the installation of Mayfly that made this secret
# MAYFLY_PUPPET_PACKAGE      what apt-get or dnf installs if the base image has no Puppet: a name, or the s3:// or https://
#                            location of a .deb or .rpm, #sha256= and its checksum. Empty: that is an error.
#
# User data is readable by everything on the machine and whoever may describe it: no secrets, but for that one, which
# is good for this bake only and together with this machine's identity document. curl, openssl and the AWS CLI
# have to be in the base image; the instance's role lets it read the code, write the log and tag itself.
#
# The result is the tag mayfly:bake-result of this instance, "ok" or "failed: <step> exit <code>", written after the
# log. Then the machine shuts down, whatever happened. One that stops without the tag could not report.
set -euo pipefail

: "${MAYFLY_BAKE:=bake}" "${MAYFLY_LOG:=}" "${MAYFLY_CLEANUP:=}" "${MAYFLY_TIME_LIMIT:=3600}" "${MAYFLY_MODE:=apply}"
: "${MAYFLY_PUPPET_CODE:=}" "${MAYFLY_PUPPET_CODE_SHA256:=}" "${MAYFLY_MANIFEST:=manifests/site.pp}"
: "${MAYFLY_PUPPET_SERVER:=}" "${MAYFLY_PUPPET_ENVIRONMENT:=production}" "${MAYFLY_PUPPET_PACKAGE:=}"
: "${MAYFLY_PUPPET_SECRET:=}" "${MAYFLY_CONTROLLER:=}"

# In memory: the image must not contain the log, and cleanup must not remove it while it is needed.
run=/run/mayfly
metadata=http://169.254.169.254/latest
code=/opt/mayfly/puppet  # a folder of Puppet environments, of which `production` is the default

# cloud-init sets neither. Ruby refuses a manifest with an umlaut if it believes that all is ASCII.
export HOME=/root LC_ALL=C.UTF-8
export PATH="$PATH:/usr/local/bin:/opt/puppetlabs/bin"
export AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=8 AWS_PAGER=

main() {
  install -d -m 0700 "$run"
  exec >"$run/log" 2>&1
  instance='' worker=''
  trap finish EXIT
  trap 'exit 143' HUP INT TERM

  step 'metadata'
  token=$(ask -X PUT "$metadata/api/token" -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600')
  instance=$(ask "$metadata/meta-data/instance-id" -H "X-aws-ec2-metadata-token: $token")
  AWS_DEFAULT_REGION=$(ask "$metadata/meta-data/placement/region" -H "X-aws-ec2-metadata-token: $token")
  export AWS_DEFAULT_REGION instance token

  step 'configuration'
  check_parameters
  # Should even this script be killed, the machine still ends.
  shutdown -P "+$((MAYFLY_TIME_LIMIT / 60 + 10))" || echo 'mayfly: no shutdown can be scheduled'

  # The limit ends whatever the steps started. In the background, so that a signal interrupts the wait.
  timeout --kill-after=20 "$MAYFLY_TIME_LIMIT" bash "$0" steps &
  worker=$!
  wait "$worker"
}

# Runs however the script ends.
finish() {
  local code=$? result=ok
  trap - EXIT
  trap '' HUP INT TERM
  set +e
  [[ -z $worker ]] || kill "$worker" 2>/dev/null
  if ((code == 124)); then
    result="failed: time limit of $MAYFLY_TIME_LIMIT s in $(<"$run/step")"
  elif ((code != 0)); then
    result="failed: $(<"$run/step") exit $code"
  fi
  echo "mayfly: $result"
  # Kept for good, or there is no image: nobody could say how it was made.
  if ! upload_log && [[ $result == ok ]]; then
    result='failed: log upload'
  fi
  [[ -z $instance ]] || aws ec2 create-tags --resources "$instance" --tags "Key=mayfly:bake-result,Value=$result"
  end_machine
}

upload_log() {
  aws s3 cp --only-show-errors "$run/log" "${MAYFLY_LOG/\{instance\}/$instance}" && return
  [[ ! -w /dev/console ]] || cat "$run/log" >/dev/console
  return 1
}

# Does not return: the machine ends while it sleeps, before cloud-init writes into what was cleaned. Should it still
# be there after that, it is ended in a way that asks nobody.
end_machine() {
  trap - HUP INT TERM
  shutdown -P now
  sleep 60
  poweroff --force --force
}

steps() {
  step 'package lock'
  packages_free 0 || { echo 'mayfly: it is held' && packages_free 1; }
  step 'puppet installation'
  command -v puppet || install_puppet
  "run_$MAYFLY_MODE"
  step 'cleanup'
  ROOT=/ bash -c "$MAYFLY_CLEANUP"
}

check_parameters() {
  [[ $MAYFLY_TIME_LIMIT =~ ^[1-9][0-9]{0,4}$ ]] || refuse "MAYFLY_TIME_LIMIT is no number of seconds"
  [[ -n $MAYFLY_CLEANUP ]] || refuse 'MAYFLY_CLEANUP is empty'
  case $MAYFLY_MODE in
    apply)
      [[ $MAYFLY_PUPPET_CODE =~ ^(s3|https?)://. ]] || refuse 'MAYFLY_PUPPET_CODE is no s3://, https:// or http://'
      is_checksum "$MAYFLY_PUPPET_CODE_SHA256" || refuse 'MAYFLY_PUPPET_CODE_SHA256 is no checksum'
      ;;
    agent) [[ -n $MAYFLY_PUPPET_SERVER ]] || refuse 'MAYFLY_PUPPET_SERVER is empty' ;;
    *) refuse "MAYFLY_MODE is neither apply nor agent: $MAYFLY_MODE" ;;
  esac
}

# Takes dpkg's lock, and waits for it where asked to: some images install at their first boot, and apt-get would not
# wait, here or when Puppet calls it. dnf and rpm do so by themselves.
packages_free() {
  [[ ! -e /var/lib/dpkg/lock-frontend ]] || perl -MFcntl -e '
    open(F, ">>", "/var/lib/dpkg/lock-frontend") or exit 0;
    $all = pack("s s x4 q q i", F_WRLCK, 0, 0, 0, 0);
    fcntl(F, $ARGV[0] ? F_SETLKW : F_SETLK, $all) or exit 1' "$1"
}

install_puppet() {
  [[ -n $MAYFLY_PUPPET_PACKAGE ]] || refuse 'Puppet is not in the base image, and MAYFLY_PUPPET_PACKAGE is empty'
  local package=$MAYFLY_PUPPET_PACKAGE
  if [[ $package == *://* ]]; then
    local location=${package%%#*} checksum=${package##*#sha256=}
    # Both take a file for what it is by its ending, and a name with a slash for a file.
    package=$run/${location##*/}
    is_checksum "$checksum" || refuse 'MAYFLY_PUPPET_PACKAGE ends with no checksum'
    fetch "$location" "$package" "$checksum"
  fi
  if command -v apt-get; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$package"
  else
    dnf install --assumeyes "$package"
  fi
}

run_apply() {
  step 'fetch'
  fetch "$MAYFLY_PUPPET_CODE" "$run/code.tar.gz" "$MAYFLY_PUPPET_CODE_SHA256"
  step 'unpack'
  # It stays in the image: the proof applies it once more and wants no change.
  rm -rf "$code/production"
  install -d -m 0755 "$code/production"
  tar --extract --gzip --no-same-owner --no-same-permissions --file "$run/code.tar.gz" --directory "$code/production"
  step 'puppet'
  converge apply --environmentpath "$code" "$code/production/$MAYFLY_MANIFEST"
}

run_agent() {
  # As an instance of an environment has it, the bake in the place of the environment.
  local name=${MAYFLY_BAKE:0:45}-${instance#i-}
  local to=(--certname "$name" --server "$MAYFLY_PUPPET_SERVER" --color=false --waitforcert 0)
  step 'certificate'
  [[ -z $MAYFLY_PUPPET_SECRET ]] || certificate_request "$name" >"$run/request.yaml"
  puppet ssl bootstrap "${to[@]}" --csr_attributes "$run/request.yaml"
  step 'puppet'
  # Never a cached catalog: a server that does not answer is a failure.
  converge agent --onetime --no-daemonize --verbose --no-usecacheonfailure "${to[@]}" \
    --environment "$MAYFLY_PUPPET_ENVIRONMENT"
}

certificate_request() {
  local document password
  document=$(ask "$metadata/dynamic/instance-identity/rsa2048" -H "X-aws-ec2-metadata-token: $token" | tr -d '\n')
  password=$(printf '%s' "$1" | openssl dgst -sha256 -hmac "$MAYFLY_PUPPET_SECRET" | sed 's/.*= //')
  printf 'custom_attributes:\n  challengePassword: %s\n  1.3.6.1.4.1.34380.1.2.1.1: "%s"\n' "$password" "$document"
  printf 'extension_requests:\n  pp_instance_id: %s\n  pp_created_by: %s\n  pp_environment: %s\n' \
    "$instance" "$MAYFLY_CONTROLLER" "$MAYFLY_BAKE"
}

# Detailed exit codes: 0 nothing to do, 2 changed something; 1 did not run, 4 and 6 some resources failed.
converge() {
  local code=0
  puppet "$@" --detailed-exitcodes --color=false || code=$?
  ((code == 0 || code == 2)) || exit "$code"
}

# Nothing is run as root, or unpacked, that is not what was meant.
fetch() {
  case $1 in
    s3://*) aws s3 cp --only-show-errors "$1" "$2" ;;
    *) curl -sS --fail --location --retry 5 --retry-connrefused --connect-timeout 10 --output "$2" "$1" ;;
  esac
  sha256sum --check <<<"$3  $2"
}

is_checksum() {
  [[ $1 =~ ^[0-9a-f]{64}$ ]]
}

ask() {
  curl -sS --fail --retry 5 --retry-connrefused --max-time 5 "$@"
}

# The step that fails gives the result its name: what comes after it is the exit code, by itself.
step() {
  echo "mayfly: $1"
  echo "$1" >"$run/step"
}

refuse() {
  echo "mayfly: $1"
  exit 64
}

"${1:-main}"
