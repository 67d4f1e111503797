//! Countries, towns, streets and company words of the five languages.
//!
//! Guarantees: town, state and postal code of an address fit together as far as a pattern can say;
//! `#` in a pattern is a digit, `@` a letter. Streets bear names that nearly every town has.

use crate::names::{Language, entries};
use crate::random::Random;

/// A country in which the sample company has customers.
#[derive(Debug)]
pub(crate) struct Country {
    /// English name, as written into the files.
    pub(crate) name: &'static str,
    /// ISO 3166 code, which also selects the numbering plan.
    pub(crate) region: &'static str,
    pub(crate) towns: &'static [Town],
    /// Ends of company names.
    pub(crate) company_forms: &'static [&'static str],
}

/// A town with its state or province and its postal codes.
#[derive(Debug)]
pub(crate) struct Town {
    pub(crate) name: &'static str,
    pub(crate) state: Option<&'static str>,
    pub(crate) postcode: &'static str,
}

const fn town(name: &'static str, state: &'static str, postcode: &'static str) -> Town {
    Town { name, state: Some(state), postcode }
}

const fn town_without_state(name: &'static str, postcode: &'static str) -> Town {
    Town { name, state: None, postcode }
}

const ENGLISH_SPEAKING: &[Country] = &[
    Country {
        name: "United Kingdom",
        region: "GB",
        towns: &[
            town_without_state("London", "SE# #@@"),
            town_without_state("Manchester", "M# #@@"),
            town_without_state("Leeds", "LS# #@@"),
            town_without_state("Bristol", "BS# #@@"),
            town_without_state("Edinburgh", "EH# #@@"),
        ],
        company_forms: &["Ltd", "PLC"],
    },
    Country {
        name: "United States",
        region: "US",
        towns: &[
            town("Portland", "OR", "972##"),
            town("Austin", "TX", "787##"),
            town("Columbus", "OH", "432##"),
            town("Denver", "CO", "802##"),
            town("Madison", "WI", "537##"),
        ],
        company_forms: &["Inc.", "LLC"],
    },
];

const FRENCH_SPEAKING: &[Country] = &[
    Country {
        name: "France",
        region: "FR",
        towns: &[
            town_without_state("Paris", "7501#"),
            town_without_state("Lyon", "6900#"),
            town_without_state("Orléans", "450##"),
            town_without_state("Besançon", "250##"),
            town_without_state("Saint-Étienne", "420##"),
        ],
        company_forms: &["SARL", "SA", "SAS"],
    },
    Country {
        name: "Canada",
        region: "CA",
        towns: &[town("Montréal", "QC", "H#@ #@#"), town("Québec", "QC", "G#@ #@#"), town("Trois-Rivières", "QC", "G#@ #@#")],
        company_forms: &["inc.", "ltée"],
    },
];

const TURKISH_SPEAKING: &[Country] = &[Country {
    name: "Türkiye",
    region: "TR",
    towns: &[
        town("Kadıköy", "İstanbul", "347##"),
        town("Beşiktaş", "İstanbul", "343##"),
        town("Çankaya", "Ankara", "066##"),
        town("Karşıyaka", "İzmir", "355##"),
        town("Nilüfer", "Bursa", "161##"),
    ],
    company_forms: &["A.Ş.", "Ltd. Şti."],
}];

const HEBREW_SPEAKING: &[Country] = &[Country {
    name: "Israel",
    region: "IL",
    towns: &[
        town_without_state("תל אביב-יפו", "6#####"),
        town_without_state("ירושלים", "9#####"),
        town_without_state("חיפה", "3#####"),
        town_without_state("באר שבע", "84#####"),
        town_without_state("רמת גן", "52#####"),
    ],
    company_forms: &["בע״מ"],
}];

const ITALIAN_SPEAKING: &[Country] = &[Country {
    name: "Italy",
    region: "IT",
    towns: &[
        town("Milano", "MI", "201##"),
        town("Roma", "RM", "001##"),
        town("Torino", "TO", "101##"),
        town("Forlì", "FC", "4712#"),
        town("Bologna", "BO", "401##"),
    ],
    company_forms: &["S.p.A.", "S.r.l."],
}];

/// Lines of business, in the order of each language's `trades`.
pub(crate) const SECTORS: [&str; 12] = [
    "technology",
    "medical",
    "retail",
    "software",
    "services",
    "marketing",
    "finance",
    "telecommunications",
    "entertainment",
    "employment",
    "logistics",
    "manufacturing",
];

impl Language {
    pub(crate) fn countries(self) -> &'static [Country] {
        match self {
            Self::English => ENGLISH_SPEAKING,
            Self::French => FRENCH_SPEAKING,
            Self::Turkish => TURKISH_SPEAKING,
            Self::Hebrew => HEBREW_SPEAKING,
            Self::Italian => ITALIAN_SPEAKING,
        }
    }

    fn streets(self) -> Vec<&'static str> {
        let list = match self {
            Self::English => {
                "\
                High Street, Station Road, Church Lane, Mill Road, Park Avenue, \
                Victoria Street, Green Lane, Orchard Close, School Lane, Bridge Street"
            }
            Self::French => {
                "\
                rue de l'Église, rue des Écoles, avenue de la Gare, place du Marché, \
                chemin du Moulin, rue du Château, allée des Tilleuls, rue de la Fontaine, \
                impasse des Lilas, quai du Port"
            }
            Self::Turkish => {
                "\
                Çınar Sokak, İstasyon Caddesi, Bahçe Sokak, Okul Caddesi, Gül Sokak, \
                Çeşme Sokak, Köprü Caddesi, Ihlamur Sokak, Değirmen Sokak, Şehitlik Caddesi"
            }
            Self::Hebrew => {
                "\
                רחוב הרצל, רחוב הגפן, רחוב הזית, שדרות הדקל, רחוב התמר, רחוב האלון, דרך הים, \
                רחוב הנביאים, רחוב השקד, סמטת הרימון"
            }
            Self::Italian => {
                "\
                via Roma, via della Libertà, corso Italia, piazza del Mercato, via dei Mulini, \
                viale della Stazione, via San Nicolò, vicolo del Pozzo, via delle Rose, \
                via Garibaldi"
            }
        };
        entries(list)
    }

    /// A street with a number, in the language's order.
    pub(crate) fn street_address(self, random: &mut Random) -> String {
        let street = *random.pick(&self.streets());
        let number = 1 + random.below(180);
        match self {
            Self::English | Self::French => format!("{number} {street}"),
            Self::Turkish => format!("{street} No: {number}"),
            Self::Hebrew => format!("{street} {number}"),
            Self::Italian => format!("{street}, {number}"),
        }
    }

    /// First words of company names; after `|` the form for mail domains.
    pub(crate) fn company_words(self) -> Vec<&'static str> {
        let list = match self {
            Self::English => {
                "\
                Harbourlight, Northfield, Oakridge, Brightwater, Kingsmead, Redstone, \
                Lanternbrook, Fairhollow, Ironbridge, Larkspur, Stonegate, Windmere, Ashdown, \
                Copperleaf"
            }
            Self::French => {
                "\
                Clairrivière, Beauvallon, Hautevigne, Boréalis, Grandmarée, Tilleulier, \
                Rochefalaise, Étangbleu, Pré-Doré, Valhêtre, Montclairin, Orée"
            }
            Self::Turkish => {
                "\
                Kuzeyışık, Günbatı, Mavikıyı, Yeşilvadi, Taşköprü, Akçınar, Gökırmak, \
                Beyazdere, İncebel, Uzunova, Şafakyolu, Özpınar"
            }
            Self::Hebrew => {
                "\
                ארזים|Arazim, גלים|Galim, רקפות|Rakafot, ברושים|Broshim, שחפים|Shehafim, \
                אלונים|Alonim, נחלים|Nehalim, צוקים|Tzukim, דקלים|Dekalim, אורנים|Oranim, \
                שקדים|Shkedim, רימונים|Rimonim"
            }
            Self::Italian => {
                "\
                Pontealto, Ginestrella, Vallechiara, Montebruno, Rocciamara, Belcolle, \
                Cipressina, Marelucente, Lanternaro, Solealto, Pratorosso, Fiumefreddo"
            }
        };
        entries(list)
    }

    /// Second words of company names, one for each of `SECTORS`.
    pub(crate) fn trades(self) -> Vec<&'static str> {
        let list = match self {
            Self::English => {
                "\
                Technology, Medical, Stores, Software, Services, Marketing, Finance, Telecom, \
                Media, Staffing, Logistics, Works"
            }
            Self::French => {
                "\
                Technologies, Santé, Distribution, Logiciels, Services, Communication, Finance, \
                Télécoms, Spectacles, Emploi, Logistique, Industries"
            }
            Self::Turkish => {
                "\
                Teknoloji, Sağlık, Perakende, Yazılım, Hizmet, Pazarlama, Finans, İletişim, \
                Eğlence, İstihdam, Lojistik, Sanayi"
            }
            Self::Hebrew => {
                "\
                טכנולוגיה, רפואה, קמעונאות, תוכנה, שירותים, שיווק, פיננסים, תקשורת, בידור, \
                השמה, לוגיסטיקה, תעשיות"
            }
            Self::Italian => {
                "\
                Tecnologie, Sanità, Distribuzione, Informatica, Servizi, Pubblicità, Finanza, \
                Telecomunicazioni, Spettacoli, Lavoro, Logistica, Industrie"
            }
        };
        entries(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;
    use crate::rules::{MENDS, country_code};

    #[test]
    fn every_country_has_a_code_and_a_known_misspelling() {
        for country in Language::ALL.into_iter().flat_map(Language::countries) {
            assert_eq!(country_code(country.name), Some(country.region));
            assert!(MENDS.iter().any(|(_, right, _)| *right == country.name), "{}", country.name);
        }
    }

    #[test]
    fn every_sector_has_a_known_misspelling() {
        for sector in SECTORS {
            assert!(MENDS.iter().any(|(_, right, _)| *right == sector), "{sector}");
        }
    }

    #[test]
    fn every_sector_has_a_word_in_each_language() {
        for language in Language::ALL {
            assert_eq!(language.trades().len(), SECTORS.len());
        }
    }

    #[test]
    fn company_words_make_mail_domains() {
        for word in Language::ALL.into_iter().flat_map(Language::company_words) {
            assert!(Name::of(word).slug().len() >= 4, "{word}");
        }
    }
}
