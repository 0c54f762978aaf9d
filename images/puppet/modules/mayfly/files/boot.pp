# The last step, at an instance's boot: what depends on the machine, and so cannot be in the image.
# fleet.yaml applies it after the host name is set and before the deploy script runs.
$host = $facts['networking']['hostname']
$megabytes = $facts['memory']['system']['total_bytes'] / 1048576

file {
  default:
    ensure => file,
    owner  => 'root',
    group  => 'root',
    mode   => '0644',
  ;
  '/etc/mayfly':
    ensure => directory,
    mode   => '0755',
  ;
  # The application's service reads it.
  '/etc/mayfly/instance.env':
    content => @("END"),
      HOST_NAME=${host}
      WORKERS=${facts['processors']['count']}
      MEMORY_MB=${megabytes}
      | END
  ;
  '/etc/motd':
    content => "${host}\n",
  ;
}
