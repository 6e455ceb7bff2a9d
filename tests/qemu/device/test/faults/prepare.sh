# Bundles that are wrong: each pod fails by itself.
bundles=/var/lib/mote/bundles
bundle() { # NAME: a copy of the probe's configuration, with its rootfs where a test does not say otherwise
    mkdir -p $bundles/$1
    cp $bundles/probe/config.json $bundles/$1/config.json
    echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"$1\"}]}}" >$manifests/$1.json
}
bundle b-truncated
head -c 300 $bundles/probe/config.json >$bundles/b-truncated/config.json
bundle b-utf8
printf '{"ociVersion":"\377"}' >$bundles/b-utf8/config.json
bundle b-deep
{ printf '{"ociVersion":"1.0.2","x":'; yes '[' | head -n 100000 | tr -d '\n'; } >$bundles/b-deep/config.json
bundle b-big
rm $bundles/b-big/config.json
truncate -s 100M $bundles/b-big/config.json
bundle b-directory
rm $bundles/b-directory/config.json
mkdir $bundles/b-directory/config.json
bundle b-norootfs
bundle b-link
ln -s ../probe/rootfs $bundles/b-link/rootfs
