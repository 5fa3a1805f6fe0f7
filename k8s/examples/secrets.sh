#!/bin/sh
# Prints every Secret that the manifests name, from secrets.env:  k8s/examples/secrets.sh | kubectl apply --server-side -f -
set -eu
file="${1:-$(dirname "$0")/secrets.env}"
refuse() { echo "$file: $1" >&2; exit 1; }
[ -f "$file" ] || refuse "is not there; copy secrets.env.example to it and fill it in"

keys="S3_ACCESS_KEY_ID S3_SECRET_ACCESS_KEY"
always="POSTGRES_USER POSTGRES_PASSWORD MLFLOW_USER MLFLOW_PASSWORD MLFLOW_SESSION_KEY RAY_TOKEN"
names="$keys S3_ROLE_ARN $always"
unset $names
# read, not sourced: a shell would put its own meaning into a password
while IFS= read -r line || [ "$line" ]; do
  case "$line" in
    '' | '#'*) continue ;;
    *=*) ;;
    *) refuse "a line without '=': it should look like NAME=value" ;;
  esac
  name="${line%%=*}" value="${line#*=}"
  case " $names " in *" $name "*) ;; *) refuse "'$name' is none of: $names" ;; esac
  case "$value" in
    '') refuse "$name is empty" ;;
    change-me*) refuse "$name is still '$value'; choose a value of your own" ;;
  esac
  export "$name=$value"
done < "$file"
if [ "${S3_ROLE_ARN:-}" ]; then
  [ -z "${S3_ACCESS_KEY_ID:-}${S3_SECRET_ACCESS_KEY:-}" ] || refuse "S3_ROLE_ARN stands in place of $keys; take them out"
  [ -z "${WITH_OBJECT_STORE:-}" ] || refuse "S3_ROLE_ARN is for AWS; the object store in the cluster wants $keys"
  always="S3_ROLE_ARN $always"
else
  always="$keys $always"
fi
for name in $always; do
  [ "$(printenv "$name" || true)" ] || refuse "$name is not set"
done

# what is secret goes by pipes between the shell's own printf and kubectl: a command's words are shown to every user
secret() {
  kubectl create secret generic "$2" --namespace "$1" --dry-run=client --output yaml --from-env-file=/dev/stdin
  echo ---
}

json() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

# the storage's keys, or how each pod comes by keys that last an hour: every pod has the token; without an address of
# its own STS would be asked at the storage's endpoint
s3() {
  if [ "${S3_ROLE_ARN:-}" ]; then
    printf '%s\n' "AWS_ROLE_ARN=$S3_ROLE_ARN" AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/lhrnet/token \
      AWS_ENDPOINT_URL_STS=https://sts.amazonaws.com
  else
    printf '%s\n' "AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY=$S3_SECRET_ACCESS_KEY"
  fi
}

s3 | secret lhrnet lhrnet-s3
printf '%s\n' "MLFLOW_TRACKING_USERNAME=$MLFLOW_USER" "MLFLOW_TRACKING_PASSWORD=$MLFLOW_PASSWORD" |
  secret lhrnet lhrnet-mlflow
printf '%s\n' "auth_token=$RAY_TOKEN" | secret lhrnet lhrnet-ray
printf '%s\n' "username=$POSTGRES_USER" "password=$POSTGRES_PASSWORD" | secret mlflow mlflow-postgres
s3 | secret mlflow mlflow-s3
printf '%s\n' "MLFLOW_AUTH_ADMIN_USERNAME=$MLFLOW_USER" "MLFLOW_AUTH_ADMIN_PASSWORD=$MLFLOW_PASSWORD" \
  "MLFLOW_FLASK_SERVER_SECRET_KEY=$MLFLOW_SESSION_KEY" | secret mlflow mlflow-auth
if [ "${WITH_OBJECT_STORE:-}" ]; then
  printf '%s\n' "s3.json={\"identities\": [{\"name\": \"lhrnet\", \"credentials\": \
[{\"accessKey\": \"$(json "$S3_ACCESS_KEY_ID")\", \"secretKey\": \"$(json "$S3_SECRET_ACCESS_KEY")\"}], \
\"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"]}]}" | secret object-store object-store-s3
fi
