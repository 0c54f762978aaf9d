# What an image needs so that Mayfly's blueprint `fleet.yaml` can boot it: a user, a place for releases, the deploy
# script, the service that runs what it deployed, and Puppet's own last step.
#
# Nothing here needs a network or a running systemd: a unit is enabled by its link, as `systemctl enable` does it.
class mayfly (
  String $user = 'mayfly',
  String $home = '/opt/mayfly',
) {
  group { $user:
    ensure => present,
    system => true,
  }

  user { $user:
    ensure     => present,
    gid        => $user,
    home       => "${home}/shared",
    managehome => false,
    shell      => '/usr/sbin/nologin',
    system     => true,
  }

  file {
    default:
      owner => 'root',
      group => 'root',
      mode  => '0644',
    ;
    [$home, "${home}/releases", '/etc/mayfly']:
      ensure => directory,
      mode   => '0755',
    ;
    # The one place that the application may write to.
    "${home}/shared":
      ensure => directory,
      owner  => $user,
      group  => $user,
      mode   => '0750',
    ;
    "${home}/deploy":
      ensure => file,
      source => 'puppet:///modules/mayfly/deploy',
      mode   => '0755',
    ;
    "${home}/version":
      ensure => file,
      source => 'puppet:///modules/mayfly/version',
      mode   => '0755',
    ;
    "${home}/boot.pp":
      ensure => file,
      source => 'puppet:///modules/mayfly/boot.pp',
    ;
    '/etc/systemd/system/mayfly-application.service':
      ensure => file,
      source => 'puppet:///modules/mayfly/mayfly-application.service',
    ;
    '/etc/systemd/system/multi-user.target.wants/mayfly-application.service':
      ensure => link,
      target => '/etc/systemd/system/mayfly-application.service',
    ;
    '/etc/systemd/system/multi-user.target.wants':
      ensure => directory,
      mode   => '0755',
    ;
    # Puppet runs when it is told to. An agent in the background would look for a server, and undo what is tested.
    '/etc/systemd/system/puppet.service':
      ensure => link,
      target => '/dev/null',
    ;
    # Read at boot. The builder itself does not need it.
    '/etc/sysctl.d/60-mayfly.conf':
      ensure  => file,
      content => "net.core.somaxconn = 4096\nnet.ipv4.ip_local_port_range = 16384 60999\nvm.swappiness = 10\n",
    ;
  }
}
