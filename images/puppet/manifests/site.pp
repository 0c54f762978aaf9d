# A sample: what every machine of the family has. Add your own modules beside this one.
node default {
  include mayfly
}
