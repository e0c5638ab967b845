# A describe before each step, as idempotent scripts have it. Version 1 of the CLI ignores AWS_ENDPOINT_URL for RDS.
aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" --output text "$@"; }
ids() { aws ec2 "describe-$1" --filters "Name=tag:Name,Values=$2" --query "$3"; }
tags() { echo "ResourceType=$1,Tags=[{Key=Name,Value=$2}]"; }

vpc=$(ids vpcs script-vpc 'Vpcs[0].VpcId')
if [ "$vpc" = None ]; then
    vpc=$(aws ec2 create-vpc --cidr-block 10.9.0.0/16 --tag-specifications "$(tags vpc script-vpc)" --query Vpc.VpcId)
    aws ec2 modify-vpc-attribute --vpc-id "$vpc" --enable-dns-support
    aws ec2 modify-vpc-attribute --vpc-id "$vpc" --enable-dns-hostnames
fi
gateway=$(ids internet-gateways script-gateway 'InternetGateways[0].InternetGatewayId')
if [ "$gateway" = None ]; then
    gateway=$(aws ec2 create-internet-gateway --tag-specifications "$(tags internet-gateway script-gateway)" \
        --query InternetGateway.InternetGatewayId)
    aws ec2 attach-internet-gateway --internet-gateway-id "$gateway" --vpc-id "$vpc"
fi
subnet() (
    id=$(ids subnets "$1" 'Subnets[0].SubnetId')
    if [ "$id" = None ]; then
        id=$(aws ec2 create-subnet --vpc-id "$vpc" --cidr-block "$2" --availability-zone "$3" \
            --tag-specifications "$(tags subnet "$1")" --query Subnet.SubnetId)
    fi
    echo "$id"
)
public=$(subnet script-public 10.9.0.0/24 "${AWS_REGION}a")
private_a=$(subnet script-private-a 10.9.1.0/24 "${AWS_REGION}a")
private_b=$(subnet script-private-b 10.9.2.0/24 "${AWS_REGION}b")
routes() (
    id=$(ids route-tables "$1" 'RouteTables[0].RouteTableId')
    if [ "$id" = None ]; then
        id=$(aws ec2 create-route-table --vpc-id "$vpc" --tag-specifications "$(tags route-table "$1")" \
            --query RouteTable.RouteTableId)
        shift
        for subnet in "$@"; do
            aws ec2 associate-route-table --route-table-id "$id" --subnet-id "$subnet" >&2
        done
    fi
    echo "$id"
)
public_routes=$(routes script-public-routes "$public")
route=$(aws ec2 describe-route-tables --route-table-ids "$public_routes" \
    --query "RouteTables[0].Routes[?DestinationCidrBlock=='0.0.0.0/0'].GatewayId")
if [ -z "$route" ]; then
    aws ec2 create-route --route-table-id "$public_routes" --destination-cidr-block 0.0.0.0/0 --gateway-id "$gateway"
fi
routes script-private-routes "$private_a" "$private_b"
group() (
    id=$(aws ec2 describe-security-groups --filters "Name=group-name,Values=$1" --query 'SecurityGroups[0].GroupId')
    if [ "$id" = None ]; then
        id=$(aws ec2 create-security-group --vpc-id "$vpc" --group-name "$1" --description "$1" --query GroupId)
    fi
    echo "$id"
)
bastion_group=$(group script-bastion)
database_group=$(group script-database)
from=$(aws ec2 describe-security-groups --group-ids "$database_group" \
    --query 'SecurityGroups[0].IpPermissions[0].UserIdGroupPairs[0].GroupId')
if [ "$from" = None ]; then
    aws ec2 authorize-security-group-ingress --group-id "$database_group" --protocol tcp --port 5432 \
        --source-group "$bastion_group"
fi
secret=$(aws secretsmanager list-secrets --filters Key=name,Values=script/master --query 'SecretList[0].ARN')
if [ "$secret" = None ]; then
    aws secretsmanager create-secret --name script/master --secret-string not-a-secret
fi
if ! aws rds describe-db-subnet-groups --db-subnet-group-name script 2> /dev/null; then
    aws rds create-db-subnet-group --db-subnet-group-name script --db-subnet-group-description script \
        --subnet-ids "$private_a" "$private_b"
fi
if ! aws rds describe-db-instances --db-instance-identifier script 2> /dev/null; then
    aws rds create-db-instance --db-instance-identifier script --engine postgres --engine-version 16 \
        --db-instance-class db.t4g.small --allocated-storage 20 --master-username dbadmin \
        --master-user-password not-a-secret --db-subnet-group-name script --vpc-security-group-ids "$database_group"
fi
aws rds wait db-instance-available --db-instance-identifier script
if ! aws iam get-role --role-name script 2> /dev/null; then
    aws iam create-role --role-name script --assume-role-policy-document \
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
    aws iam attach-role-policy --role-name script \
        --policy-arn arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore
fi
if ! aws iam get-instance-profile --instance-profile-name script 2> /dev/null; then
    aws iam create-instance-profile --instance-profile-name script
    aws iam add-role-to-instance-profile --instance-profile-name script --role-name script
fi
instance=$(aws ec2 describe-instances --filters Name=tag:Name,Values=script-bastion \
    Name=instance-state-name,Values=pending,running,stopping,stopped --query 'Reservations[0].Instances[0].InstanceId')
if [ "$instance" = None ]; then
    image=$(aws ssm get-parameter --name /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64 \
        --query Parameter.Value)
    launched=false
    # A new profile is not known at once.
    for _ in 1 2 3 4 5; do
        if instance=$(aws ec2 run-instances --image-id "$image" --instance-type t3.micro \
            --iam-instance-profile Name=script --tag-specifications "$(tags instance script-bastion)" \
            --network-interfaces "DeviceIndex=0,SubnetId=$public,Groups=$bastion_group,AssociatePublicIpAddress=true" \
            --query 'Instances[0].InstanceId'); then
            launched=true
            break
        fi
    done
    $launched
fi
aws ec2 wait instance-running --instance-ids "$instance"
aws ssm get-connection-status --target "$instance"
