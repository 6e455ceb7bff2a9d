# One pod more than the board allows.
for i in $(seq -w 1 65); do
    echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p$i\"},\"spec\":{\"terminationGracePeriodSeconds\":1,\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"image\":\"probe\",\"args\":[\"sleep\",\"100000\"]}]}}" >$manifests/p$i.json
done
