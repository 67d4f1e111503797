//! Countries of addresses, as exports of other programs write them.

use std::collections::HashMap;
use std::sync::LazyLock;

use rapport_contacts_api::v1 as pb;
use rapport_kit::filter::fold;

/// The code of a country (ISO 3166-1 alpha-2) that is called so in English, or by a name that is as common; none if no
/// country is.
#[must_use]
pub fn code(name: &str) -> Option<&'static str> {
    static CODES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
        let countries = NAMES.lines().filter_map(|line| line.split_once('='));
        countries.flat_map(|(code, names)| names.split('|').map(move |name| (fold(name), code))).collect()
    });
    CODES.get(&fold(name.trim())).copied()
}

/// Puts the codes of countries in the place of their names.
pub fn settle(addresses: &mut [pb::Address]) {
    for address in addresses {
        let region = &mut address.postal_address.get_or_insert_default().region_code;
        if let Some(code) = code(region) {
            code.clone_into(region);
        }
    }
}

/// Puts the tenant's own country where none stands. Of the addresses that are to be written: where a row leaves the country
/// out, the one that is known stays.
pub fn complete(addresses: &mut [pb::Address], country: Option<&str>) {
    for address in addresses {
        let region = &mut address.postal_address.get_or_insert_default().region_code;
        if let (true, Some(country)) = (region.is_empty(), country) {
            country.clone_into(region);
        }
    }
}

/// A country a line: its code and what it is called.
const NAMES: &str = "\
AD=Andorra\n\
AE=United Arab Emirates|UAE\n\
AF=Afghanistan\n\
AG=Antigua & Barbuda|Antigua and Barbuda\n\
AI=Anguilla\n\
AL=Albania\n\
AM=Armenia\n\
AO=Angola\n\
AQ=Antarctica\n\
AR=Argentina\n\
AS=American Samoa\n\
AT=Austria\n\
AU=Australia\n\
AW=Aruba\n\
AX=Åland Islands\n\
AZ=Azerbaijan\n\
BA=Bosnia|Bosnia and Herzegovina\n\
BB=Barbados\n\
BD=Bangladesh\n\
BE=Belgium\n\
BF=Burkina Faso\n\
BG=Bulgaria\n\
BH=Bahrain\n\
BI=Burundi\n\
BJ=Benin\n\
BL=St. Barthélemy|Saint Barthélemy\n\
BM=Bermuda\n\
BN=Brunei|Brunei Darussalam\n\
BO=Bolivia|Bolivia (Plurinational State of)\n\
BQ=Caribbean Netherlands|Bonaire, Sint Eustatius and Saba\n\
BR=Brazil\n\
BS=Bahamas\n\
BT=Bhutan\n\
BV=Bouvet Island\n\
BW=Botswana\n\
BY=Belarus\n\
BZ=Belize\n\
CA=Canada\n\
CC=Cocos Islands|Cocos (Keeling) Islands\n\
CD=Congo - Kinshasa|Democratic Republic of the Congo\n\
CF=Central African Republic\n\
CG=Congo - Brazzaville|Congo\n\
CH=Switzerland|Schweiz|Suisse\n\
CI=Côte d’Ivoire|Ivory Coast\n\
CK=Cook Islands|Cook Islands **\n\
CL=Chile\n\
CM=Cameroon\n\
CN=China\n\
CO=Colombia\n\
CR=Costa Rica\n\
CU=Cuba\n\
CV=Cape Verde|Cabo Verde\n\
CW=Curaçao\n\
CX=Christmas Island\n\
CY=Cyprus\n\
CZ=Czechia|Czech Republic\n\
DE=Germany|Deutschland\n\
DJ=Djibouti\n\
DK=Denmark\n\
DM=Dominica\n\
DO=Dominican Republic\n\
DZ=Algeria\n\
EC=Ecuador\n\
EE=Estonia\n\
EG=Egypt\n\
EH=Western Sahara\n\
ER=Eritrea\n\
ES=Spain\n\
ET=Ethiopia\n\
FI=Finland\n\
FJ=Fiji\n\
FK=Falkland Islands\n\
FM=Micronesia|Micronesia (Federated States of)\n\
FO=Faroe Islands\n\
FR=France\n\
GA=Gabon\n\
GB=United Kingdom of Great Britain and Northern Ireland|United Kingdom|Great Britain\n\
GD=Grenada\n\
GE=Georgia\n\
GF=French Guiana\n\
GG=Guernsey\n\
GH=Ghana\n\
GI=Gibraltar\n\
GL=Greenland\n\
GM=Gambia\n\
GN=Guinea\n\
GP=Guadeloupe\n\
GQ=Equatorial Guinea\n\
GR=Greece\n\
GS=South Georgia & South Sandwich Islands|South Georgia and the South Sandwich Islands\n\
GT=Guatemala\n\
GU=Guam\n\
GW=Guinea-Bissau\n\
GY=Guyana\n\
HK=Hong Kong|China, Hong Kong Special Administrative Region\n\
HM=Heard & McDonald Islands|Heard Island and McDonald Islands\n\
HN=Honduras\n\
HR=Croatia\n\
HT=Haiti\n\
HU=Hungary\n\
ID=Indonesia\n\
IE=Ireland\n\
IL=Israel\n\
IM=Isle of Man\n\
IN=India\n\
IO=British Indian Ocean Territory\n\
IQ=Iraq\n\
IR=Iran|Iran (Islamic Republic of)\n\
IS=Iceland\n\
IT=Italy\n\
JE=Jersey\n\
JM=Jamaica\n\
JO=Jordan\n\
JP=Japan\n\
KE=Kenya\n\
KG=Kyrgyzstan\n\
KH=Cambodia\n\
KI=Kiribati\n\
KM=Comoros\n\
KN=St. Kitts & Nevis|Saint Kitts and Nevis\n\
KP=North Korea|Democratic People's Republic of Korea\n\
KR=South Korea|Republic of Korea\n\
KW=Kuwait\n\
KY=Cayman Islands\n\
KZ=Kazakhstan\n\
LA=Laos|Lao People's Democratic Republic\n\
LB=Lebanon\n\
LC=St. Lucia|Saint Lucia\n\
LI=Liechtenstein\n\
LK=Sri Lanka\n\
LR=Liberia\n\
LS=Lesotho\n\
LT=Lithuania\n\
LU=Luxembourg\n\
LV=Latvia\n\
LY=Libya\n\
MA=Morocco\n\
MC=Monaco\n\
MD=Moldova|Republic of Moldova\n\
ME=Montenegro\n\
MF=St. Martin|Saint Martin (French Part)\n\
MG=Madagascar\n\
MH=Marshall Islands\n\
MK=North Macedonia\n\
ML=Mali\n\
MM=Myanmar\n\
MN=Mongolia\n\
MO=Macao|China, Macao Special Administrative Region\n\
MP=Northern Mariana Islands\n\
MQ=Martinique\n\
MR=Mauritania\n\
MS=Montserrat\n\
MT=Malta\n\
MU=Mauritius\n\
MV=Maldives\n\
MW=Malawi\n\
MX=Mexico\n\
MY=Malaysia\n\
MZ=Mozambique\n\
NA=Namibia\n\
NC=New Caledonia\n\
NE=Niger\n\
NF=Norfolk Island\n\
NG=Nigeria\n\
NI=Nicaragua\n\
NL=Netherlands|The Netherlands\n\
NO=Norway\n\
NP=Nepal\n\
NR=Nauru\n\
NU=Niue|Niue **\n\
NZ=New Zealand\n\
OM=Oman\n\
PA=Panama\n\
PE=Peru\n\
PF=French Polynesia\n\
PG=Papua New Guinea\n\
PH=Philippines\n\
PK=Pakistan\n\
PL=Poland\n\
PM=St. Pierre & Miquelon|Saint Pierre and Miquelon\n\
PN=Pitcairn\n\
PR=Puerto Rico\n\
PS=Palestine|State of Palestine *|State of Palestine\n\
PT=Portugal\n\
PW=Palau\n\
PY=Paraguay\n\
QA=Qatar\n\
RE=Réunion\n\
RO=Romania\n\
RS=Serbia\n\
RU=Russia|Russian Federation\n\
RW=Rwanda\n\
SA=Saudi Arabia\n\
SB=Solomon Islands\n\
SC=Seychelles\n\
SD=Sudan\n\
SE=Sweden\n\
SG=Singapore\n\
SH=St. Helena|Saint Helena\n\
SI=Slovenia\n\
SJ=Svalbard & Jan Mayen|Svalbard and Jan Mayen Islands\n\
SK=Slovakia\n\
SL=Sierra Leone\n\
SM=San Marino\n\
SN=Senegal\n\
SO=Somalia\n\
SR=Suriname\n\
SS=South Sudan\n\
ST=São Tomé & Príncipe|Sao Tome and Principe\n\
SV=El Salvador\n\
SX=Sint Maarten|Sint Maarten (Dutch part)\n\
SY=Syria|Syrian Arab Republic\n\
SZ=Eswatini\n\
TC=Turks & Caicos Islands|Turks and Caicos Islands\n\
TD=Chad\n\
TF=French Southern Territories\n\
TG=Togo\n\
TH=Thailand\n\
TJ=Tajikistan\n\
TK=Tokelau\n\
TL=Timor-Leste\n\
TM=Turkmenistan\n\
TN=Tunisia\n\
TO=Tonga\n\
TR=Türkiye|Turkey\n\
TT=Trinidad & Tobago|Trinidad and Tobago\n\
TV=Tuvalu\n\
TW=Taiwan\n\
TZ=Tanzania|United Republic of Tanzania\n\
UA=Ukraine\n\
UG=Uganda\n\
UM=U.S. Outlying Islands|United States Minor Outlying Islands\n\
US=United States of America|USA|United States|U.S.A.\n\
UY=Uruguay\n\
UZ=Uzbekistan\n\
VA=Vatican City|Holy See *|Holy See\n\
VC=St. Vincent & Grenadines|Saint Vincent and the Grenadines\n\
VE=Venezuela|Venezuela (Bolivarian Republic of)\n\
VG=British Virgin Islands\n\
VI=U.S. Virgin Islands|United States Virgin Islands\n\
VN=Vietnam|Viet Nam\n\
VU=Vanuatu\n\
WF=Wallis & Futuna|Wallis and Futuna Islands\n\
WS=Samoa\n\
YE=Yemen\n\
YT=Mayotte\n\
ZA=South Africa\n\
ZM=Zambia\n\
ZW=Zimbabwe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_found_by_name() {
        for (name, expected) in [("Turkey", "TR"), ("türkiye", "TR"), (" UNITED STATES ", "US"), ("France", "FR"), ("Czech Republic", "CZ")] {
            assert_eq!(code(name), Some(expected), "{name}");
        }
        assert_eq!(code("Atlantis"), None);
    }
}
