# Manifests that are wrong in ways that files in a repository cannot be, or should not.
pod='"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}'
head -c 60 $manifests/pair.json >$manifests/bad-truncated.json
printf '{"apiVersion":"\377"}' >$manifests/bad-utf8.json
{ printf '{%s,"spec":' "$pod"; yes '[' | head -n 100000 | tr -d '\n'; } >$manifests/bad-deep.json
truncate -s 100M $manifests/bad-big.json
mkfifo $manifests/bad-fifo.json
mkdir $manifests/bad-directory.json
echo "{$pod,\"spec\":{\"securityContext\":{\"seLinuxOptions\":{\"level\":\"s0\"}},\"containers\":[{\"name\":\"c\",\"image\":\"probe\"}]}}" >$manifests/bad-field.json
echo "{$pod,\"spec\":{\"containers\":[{\"name\":\"../c\",\"image\":\"probe\"}]}}" >$manifests/bad-name.json
printf '{%s,"spec":{"containers":[{"name":"\\u001b[31m","image":"probe"}]}}' "$pod" >$manifests/bad-escape.json
cp $manifests/pair.json $manifests/zz-again.json
ln -s /nowhere $manifests/bad-link.json
