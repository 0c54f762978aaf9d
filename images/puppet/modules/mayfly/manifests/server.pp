# What a Puppet server needs so that Mayfly's instances get certificates, and lose them when they are gone.
# Restart the server after the first run: it reads its settings when it starts.
#
# @param key What Mayfly keeps as /mayfly/puppet/key: 32 characters at least, known to nobody else.
# @param aws_certificates Folder with AWS's certificates for identity documents (RSA-2048), one .pem a Region in use.
# @param living Location of the list of living instances: s3://BUCKET/living-instances.json, where BUCKET is Mayfly's
#   ReportsBucket. The server needs no more of AWS than s3:GetObject on it. Empty: certificates stay.
class mayfly::server (
  Sensitive[String[32]] $key,
  String[1]             $aws_certificates,
  String                $living = '',
) {
  $folder = "${settings::confdir}/mayfly"

  file {
    default:
      owner => 'root',
      group => 'root',
      mode  => '0644',
    ;
    $folder:
      ensure => directory,
      mode   => '0755',
    ;
    "${folder}/aws":
      ensure  => directory,
      source  => "file://${aws_certificates}",
      recurse => true,
      purge   => true,
    ;
    "${folder}/key":
      ensure    => file,
      content   => $key,
      owner     => 'puppet',
      mode      => '0400',
      show_diff => false,
    ;
    "${folder}/autosign":
      ensure => file,
      source => 'puppet:///modules/mayfly/server/autosign',
      mode   => '0755',
    ;
    "${folder}/clean":
      ensure => file,
      source => 'puppet:///modules/mayfly/server/clean',
      mode   => '0755',
    ;
  }

  # The server runs it as its policy: what it does not sign waits for a person, and nobody is signed blindly.
  exec { 'mayfly signs certificates':
    command => "puppet config set --section server autosign ${folder}/autosign",
    unless  => "test \"$(puppet config print --section server autosign)\" = ${folder}/autosign",
    path    => ['/opt/puppetlabs/bin', '/usr/local/bin', '/usr/bin', '/bin'],
    require => File["${folder}/autosign", "${folder}/key", "${folder}/aws"],
  }

  if $living != '' {
    file {
      default:
        owner => 'root',
        group => 'root',
        mode  => '0644',
      ;
      '/etc/systemd/system/mayfly-clean.service':
        ensure  => file,
        content => "[Unit]\nDescription=Removes certificates of instances that are gone\n\n[Service]\nType=oneshot\nExecStart=${folder}/clean ${living}\n",
      ;
      '/etc/systemd/system/mayfly-clean.timer':
        ensure  => file,
        content => "[Unit]\nDescription=Removes certificates of instances that are gone\n\n[Timer]\nOnCalendar=*:0/10\n\n[Install]\nWantedBy=timers.target\n",
      ;
      '/etc/systemd/system/timers.target.wants/mayfly-clean.timer':
        ensure => link,
        target => '/etc/systemd/system/mayfly-clean.timer',
      ;
    }
  }
}
